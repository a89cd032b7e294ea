"""Doubtful labels: found from the data where it can tell, asked of a teacher, and treated as the settings say."""

import random
from collections.abc import Sequence

import dspy
import numpy as np
import pytest
from engine import auth_error, calls
from tasks import (
    INSTRUCTIONS,
    LABELS,
    TRAIN,
    WORDS,
    as_teacher,
    compiled,
    keyword,
    mail_task,
    mail_teacher,
    mails,
    micro_rule,
    micro_rules,
    pld,
    student,
    student_lm,
)

from experiments.label_noise import audited, flip
from pld_dspy.audit.labels import (
    FOLDS,
    MARGIN,
    Audit,
    Suspect,
    _without_labels,
    audit,
    contradicted_by_teacher,
    suspects,
)
from pld_dspy.errors import DataError, ModelError
from pld_dspy.induce.induce import Induction, induce
from pld_dspy.induce.induce_config import InduceConfig
from pld_dspy.ledger.budget import Budget
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.local import classifier
from pld_dspy.rules import DOUBT_MARK, MicroRule
from pld_dspy.run.result import PLDResult
from pld_dspy.task.task import Task

MAILS = mails(150)
WRONG = (3, 40, 77, 101, 140)


def relabelled(rows: Sequence[int] = WRONG) -> list[dspy.Example]:
    """The mails with the labels of some rows changed to the next one."""
    changed = {row: LABELS[(LABELS.index(MAILS[row].label) + 1) % 3] for row in rows}
    return [
        mail.copy(label=changed[row]).with_inputs("text") if row in changed else mail for row, mail in enumerate(MAILS)
    ]


def bare(examples: Sequence[dspy.Example]) -> list[MicroRule]:
    """Micro-rules that say no more than the label."""
    return [record.model_copy(update={"rule": record.label}) for record in micro_rules(examples)]


def doubting(example_id: str, label: str, word: str) -> MicroRule:
    return micro_rule(example_id, f"Mail about the {word}", label, word, rationale=f"{DOUBT_MARK} Hm.")


def truth(word: str) -> str:
    return next(label for label, words in WORDS.items() if word in words)


class TestFromTheData:
    @pytest.fixture(autouse=True)
    def all_folds(self, monkeypatch):
        """As many as users get, not those of the other tests."""
        monkeypatch.setattr(classifier, "FOLDS", 10)

    def test_labels_that_contradict_like_texts_are_suspect(self):
        found = suspects(bare(relabelled()), mail_task())
        assert {one.example_id for one in found} == {f"m{row}" for row in WRONG}

    def test_an_embedder_sees_likeness_where_no_two_texts_share_a_word(self):
        # Unrelated words: only the vectors say which mails are alike.
        strange = [
            mail.copy(text=f"{chr(97 + row % 26)}{row * 7919:x}").with_inputs("text")
            for row, mail in enumerate(relabelled())
        ]
        kinds = {mail.text: LABELS.index(MAILS[row].label) for row, mail in enumerate(strange)}

        def embedder(texts: Sequence[str]) -> np.ndarray:
            return np.eye(len(LABELS))[[kinds[text] for text in texts]]

        assert suspects(bare(strange), mail_task()) == []
        found = suspects(bare(strange), mail_task(), embedder=embedder)
        assert {one.example_id for one in found} == {f"m{row}" for row in WRONG}
        for one in found:
            true = MAILS[int(one.example_id[1:])].label
            assert one.suggested == true != one.label
            assert 1 >= one.score >= MARGIN
            assert one.reason.startswith(f"its text read like {true} (0.")

    def test_sound_labels_are_not(self):
        assert suspects(bare(MAILS), mail_task()) == []
        assert suspects(micro_rules(MAILS), mail_task()) == []

    def test_micro_rules_are_read_with_the_texts_of_their_examples(self):
        found = suspects(micro_rules(relabelled()), mail_task())
        assert {one.example_id for one in found} == {f"m{row}" for row in WRONG}
        assert "its text and micro-rule read like" in found[0].reason

    def test_a_micro_rule_accuses_where_the_text_says_nothing(self):
        rules = [
            record.model_copy(update={"inputs": {"text": f"number {row}"}})
            for row, record in enumerate(micro_rules(relabelled()))
        ]
        found = suspects(rules, mail_task())
        assert {one.example_id for one in found} == {f"m{row}" for row in WRONG}
        assert "its micro-rule read like" in found[0].reason

    def test_where_nothing_tells_the_labels_apart_nothing_is_doubted(self, caplog):
        rng = random.Random(0)
        drawn = [(i, rng.choice(LABELS)) for i in range(90)]
        noise = [micro_rule(str(i), f"word{rng.random()}", label, label) for i, label in drawn]
        assert suspects(noise, mail_task()) == []
        assert "neither text nor micro-rule tells the labels apart" in caplog.text

    def test_a_rare_label_is_never_suspect(self):
        rare = [mail.copy(label="home").with_inputs("text") for mail in MAILS[: FOLDS - 1] if mail.label != "home"]
        others = [mail for mail in MAILS[FOLDS:] if mail.label != "home"]
        assert rare
        assert suspects(bare([*rare, *others]), mail_task()) == []
        assert suspects(bare(rare), mail_task()) == []

    def test_a_doubt_that_the_author_wrote_down_counts_in_full_and_comes_first(self):
        found = suspects([*micro_rules(relabelled()), doubting("d", "home", "dinner")], mail_task())
        assert found[0] == Suspect("d", "home", None, 1.0, "its rationale doubts the label")
        assert len(found) == 1 + len(WRONG)
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)

    @pytest.mark.parametrize("text", ["", "   ", "!!!"])
    def test_texts_without_words_are_no_obstacle(self, text):
        items = [micro_rule(str(i), text, LABELS[i % 2], "x") for i in range(20)]
        assert suspects(items, mail_task()) == []

    def test_a_few_micro_rules_of_nothing_but_a_label_do_not_silence_the_others(self):
        records = micro_rules(relabelled())
        found = suspects([*bare(relabelled()[:2]), *records[2:]], mail_task())
        assert {one.example_id for one in found} == {f"m{row}" for row in WRONG}
        assert all(one.reason.startswith("its text and micro-rule read like") for one in found)

    @pytest.mark.parametrize("labels", [("top up", "top_up_failed"), ("top_up_failed", "top up")])
    def test_a_label_that_begins_another_leaves_nothing_of_it(self, labels):
        assert " ".join(_without_labels("If it broke, say Top-up failed.", labels).split()) == "If it broke, say ."

    def test_names_of_labels_are_taken_out_of_rules_however_they_are_joined(self):
        labels = ("pending_top_up", "top-up failed", "C++", "up")
        told = "If it waits, answer pending top-up, not Top Up Failed or C++; an upgrade is up to date."
        assert " ".join(_without_labels(told, labels).split()) == (
            "If it waits, answer , not or ; an upgrade is to date."
        )


class TestByTheTeacher:
    @staticmethod
    def judge(answer: str | None = None, **settings: object) -> dspy.LM:
        """A teacher that knows the truth of each mail, or always answers the same."""
        return mail_teacher(
            {
                "reason": lambda given: f"It is about\n{given['example'].split()[-1]}.",
                "answer": lambda given: answer or truth(given["example"].split()[-1]),
            },
            **settings,
        )

    def asked(self, items: Sequence[MicroRule], lm: dspy.LM, ledger: Ledger | None = None) -> list[Suspect]:
        return self.judged(items, lm, ledger).suspects

    def judged(self, items: Sequence[MicroRule], lm: dspy.LM, ledger: Ledger | None = None) -> Audit:
        return contradicted_by_teacher(items, mail_task(), teacher=as_teacher(lm, ledger))

    def test_it_is_not_told_the_label_and_contradicts_the_wrong_ones(self):
        lm, ledger = self.judge(), Ledger()
        items = micro_rules(relabelled()[:50])
        found = self.asked(items, lm, ledger)
        assert [one.example_id for one in found] == ["m3", "m40"]
        word = keyword(MAILS[3])
        reason = f"the teacher, not told the label, answers {truth(word)}: It is about {word}."
        assert found[0] == Suspect("m3", items[3].label, truth(word), 1.0, reason)
        assert len(calls(lm)) == ledger.spent["teacher", "audit"].calls == 50
        assert INSTRUCTIONS in calls(lm)[0].user
        assert "[[ ## label ## ]]" not in calls(lm)[0].user

    def test_micro_rules_are_judged_by_their_inputs(self):
        lm = self.judge()
        found = self.asked(micro_rules(relabelled())[:5], lm)
        assert [one.example_id for one in found] == ["m3"]
        assert "If the text mentions" not in calls(lm)[0].user

    def test_a_judge_that_gives_no_reason_is_said_to_give_none(self):
        class Curt(dspy.Module):
            def forward(self, task: str, labels: str, example: str) -> dspy.Prediction:
                return dspy.Prediction(reason=None, answer="home")

        judged = contradicted_by_teacher(micro_rules(MAILS)[:1], mail_task(), teacher=as_teacher(None, audit=Curt()))
        [found] = judged.suspects
        assert found.reason.endswith("answers home: it does not say why")

    @pytest.mark.parametrize("answer", ["unclear", "Unclear."])
    def test_a_teacher_that_cannot_tell_contradicts_nothing(self, answer):
        lm = self.judge(answer)
        assert self.judged(micro_rules(MAILS)[:3], lm) == Audit([])
        assert len(calls(lm)) == 3

    @pytest.mark.parametrize("answer", ["spam or work", "", "no idea", "If <sign>, answer <label>."])
    def test_an_answer_that_is_no_label_is_asked_for_once_more_and_then_counted(self, answer):
        lm = self.judge(answer or " ")
        assert self.judged(micro_rules(MAILS)[:3], lm) == Audit([], unreadable=3)
        assert len(calls(lm)) == 6

    def test_finished_calls_are_kept_and_a_cap_leaves_the_rest_unasked(self, tmp_path):
        first = Ledger(tmp_path / "ledger.jsonl", budget=Budget(teacher_calls=4))
        assert [one.example_id for one in self.asked(micro_rules(relabelled()[:50]), self.judge(), first)] == ["m3"]
        assert "audit" in first.stopped
        lm = self.judge()
        again = self.asked(micro_rules(relabelled()[:50]), lm, Ledger(tmp_path / "ledger.jsonl"))
        assert [one.example_id for one in again] == ["m3", "m40"]
        assert len(calls(lm)) == 46

    def test_a_refused_key_stops_at_once(self):
        with pytest.raises(ModelError):
            self.asked(micro_rules(MAILS)[:3], self.judge(failures=[auth_error()]))

    def test_what_the_data_doubts_can_be_put_to_it_alone(self):
        items = {rule.example_id: rule for rule in micro_rules(relabelled())}
        lm = self.judge()
        doubted = suspects(list(items.values()), mail_task())
        confirmed = self.asked([items[one.example_id] for one in doubted], lm)
        assert {one.example_id for one in confirmed} == {one.example_id for one in doubted}
        assert len(calls(lm)) == len(WRONG)

    def test_a_teacher_of_ones_own_is_asked(self):
        class Stern(dspy.Module):
            def forward(self, task: str, labels: str, example: str) -> dspy.Prediction:
                return dspy.Prediction(reason="Always so.", answer="home")

        found = contradicted_by_teacher(micro_rules(MAILS)[:6], mail_task(), teacher=as_teacher(None, audit=Stern()))
        assert {one.label for one in found.suspects} == {"spam", "work"}


class TestByBoth:
    def asked(self, records: list[MicroRule], lm: dspy.LM, ledger: Ledger, **given: object) -> list[Suspect]:
        return audit(records, mail_task(), teacher=as_teacher(lm, ledger), **given).suspects

    def test_what_either_doubts_is_doubted_and_both_say_why(self):
        records = [*micro_rules(relabelled()), doubting("d", "home", "dinner")]
        records[5] = records[5].model_copy(update={"inputs": {"text": f"Mail 5 about the {WORDS['home'][0]} of work"}})
        lm = mail_teacher(
            {
                "reason": lambda given: "So it is.",
                "answer": lambda given: (
                    "spam" if "of work" in given["example"] else truth(given["example"].split()[-1])
                ),
            }
        )
        found = self.asked(records, lm, Ledger())
        by_id = {one.example_id: one for one in found}
        assert set(by_id) == {*(f"m{row}" for row in WRONG), "m5", "d"}
        assert by_id["m5"].reason == "the teacher, not told the label, answers spam: So it is."
        assert by_id["m3"].reason.startswith("its text and micro-rule read like")
        assert by_id["m3"].reason.endswith(
            f"; the teacher, not told the label, answers {truth(keyword(MAILS[3]))}: So it is."
        )
        assert by_id["d"].reason == "its rationale doubts the label"
        assert [one.score for one in found] == [1.0] * len(found)

    def test_a_cap_leaves_out_what_nobody_doubts(self):
        lm, ledger = TestByTheTeacher.judge(), Ledger(budget=Budget(teacher_calls=len(WRONG)))
        found = self.asked(micro_rules(relabelled()), lm, ledger)
        assert {one.example_id for one in found} == {f"m{row}" for row in WRONG}
        assert len(calls(lm)) == len(WRONG)
        assert all(MAILS[row].text in "".join(call.user for call in calls(lm)) for row in WRONG)

    def test_what_the_student_reads_is_judged(self):
        records = [record.model_copy(update={"inputs": {"text": "in an attachment"}}) for record in micro_rules(MAILS)]
        texts = {mail.id: mail.text for mail in relabelled()}
        lm = TestByTheTeacher.judge()
        found = self.asked(records[:30], lm, Ledger(), texts=texts)
        assert found == []
        assert [call.user.count("attachment") for call in calls(lm)] == [0] * 30
        wrong = [record.model_copy(update={"inputs": {"text": "none"}}) for record in micro_rules(relabelled())]
        doubted = suspects(wrong, mail_task(), texts=texts)
        assert doubted[0].reason.startswith("its text and micro-rule read like")


class TestInACompile:
    ROWS = (4, 11)

    def train(self) -> list[dspy.Example]:
        changed = {row: LABELS[(LABELS.index(TRAIN[row].label) + 1) % 3] for row in self.ROWS}
        return [mail.copy(label=changed.get(row, mail.label)).with_inputs("text") for row, mail in enumerate(TRAIN)]

    def compiled(self, **settings: object) -> tuple[PLDResult, dspy.LM]:
        lm = TestByTheTeacher.judge()
        optimizer = pld(teacher=lm, induce=InduceConfig(wordings=1, **settings))
        compiled(optimizer, student(student_lm()), trainset=self.train())
        assert optimizer.result is not None
        return optimizer.result, lm

    @pytest.fixture(autouse=True)
    def in_a_folder_of_its_own(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    def test_doubted_labels_are_listed_and_nothing_else_changes(self):
        plain, before = self.compiled()
        listed, teacher = self.compiled(audit="teacher")
        assert {one.example_id for one in listed.suspects} == {f"m{row}" for row in self.ROWS}
        assert not any("teacher" in one.reason for one in plain.suspects)
        assert (listed.rules, listed.bench) == (plain.rules, plain.bench)
        assert listed.costs["teacher"]["audit"].calls == len(TRAIN) == len(calls(teacher)) - len(calls(before))
        assert list(listed.seconds)[:4] == list(plain.seconds)[:4] == ["baseline", "explain", "audit", "induce"]
        assert "audit" not in plain.costs["teacher"]
        assert PLDResult.model_validate_json(listed.model_dump_json()) == listed

    def test_the_policy_is_applied_to_them(self):
        found, _ = self.compiled(audit="teacher", suspects="drop")
        supporting = {one for rule in (*found.rules.rules, *found.bench) for one in rule.support}
        assert not supporting & {f"m{row}" for row in self.ROWS}
        assert found.counts["suspects_dropped"] == len(self.ROWS)

    def test_without_a_teacher_it_is_refused_before_any_call(self):
        lm = student_lm()
        optimizer = pld(teacher=None, induce=InduceConfig(audit="teacher"))
        with pytest.raises(DataError, match=r'audit is "teacher" and there is no teacher. Give one, as PLD'):
            compiled(optimizer, student(lm), rationales=micro_rules(TRAIN))
        assert calls(lm) == []

    def test_the_estimate_counts_audit_and_drafts(self):
        def calls_by_stage(**settings: object) -> dict[str, int]:
            optimizer = pld(induce=InduceConfig(**settings))
            stages = optimizer.estimate(student(student_lm()), trainset=TRAIN, rationales=micro_rules(TRAIN[:9])).stages
            return {stage.stage: stage.calls for stage in stages if stage.role == "teacher"}

        plain, more = calls_by_stage(), calls_by_stage(audit="teacher", drafts=3)
        assert "audit" not in plain
        assert more["audit"] >= more["explain"] + 1
        assert more["induce"] == plain["induce"] + 2 * 2  # each draft may be asked for once more


class TestPolicy:
    @staticmethod
    def induced(records: list[MicroRule], **settings: object) -> Induction:
        doubted = settings.pop("doubted", None) or suspects(records, mail_task())
        config = InduceConfig(**settings)
        pairs = [(one.example_id, one.label) for one in doubted]
        return induce(records, mail_task(), config=config, doubted=pairs)

    def test_by_default_every_micro_rule_counts(self):
        found = self.induced(micro_rules(relabelled()))
        assert "suspect" not in found.diagnosis
        assert sum(len(rule.support) for rule in found.rules) == len(MAILS)

    def test_dropped_suspects_support_nothing(self):
        found = self.induced(micro_rules(relabelled()), suspects="drop")
        wrong = {f"m{row}" for row in WRONG}
        assert set(found.dropped) == wrong
        assert not wrong & ({one for rule in found.rules for one in rule.support} | set(found.noise))
        assert found.counts["suspects_dropped"] == len(WRONG)
        assert f"{len(WRONG)} with a suspect label dropped" in found.diagnosis
        assert {(truth(rule.text.split()[4].strip(",")),) for rule in found.rules} == {(label,) for label in LABELS}
        assert all(rule.labels == (truth(rule.text.split()[4].strip(",")),) for rule in found.rules)

    def test_down_weighted_suspects_come_last_and_count_half(self):
        one_cluster = {"clusterer": lambda vectors: np.zeros(len(vectors), int), "max_share": 1}
        records = [micro_rule(f"a{i}", "t", "spam", "winner") for i in range(4)]
        records += [micro_rule(f"b{i}", "t", "work", "deadline") for i in range(5)]
        doubted = [Suspect(f"b{i}", "work", "spam", 0.5, "") for i in (0, 1, 2)]
        plain = self.induced(records, **one_cluster)
        found = self.induced(records, **one_cluster, suspects="down-weight", doubted=doubted)
        assert [rule.id for rule in plain.rules] == ["work-1", "spam-1"]
        assert [rule.id for rule in found.rules] == ["spam-1", "work-1"]
        assert set(found.rules[1].support[-3:]) == {"b0", "b1", "b2"}
        assert "3 with a suspect label put last" in found.diagnosis

    def test_what_is_given_is_not_asked_again_and_strangers_do_not_matter(self):
        doubted = [Suspect("m0", "spam", "work", 0.4, ""), Suspect("stranger", "spam", "work", 0.4, "")]
        found = self.induced(micro_rules(relabelled()), suspects="drop", doubted=doubted)
        assert found.counts["suspects_dropped"] == 1
        assert "m0" not in {one for rule in found.rules for one in rule.support}

    def test_no_label_loses_its_last_micro_rules(self):
        records = [*micro_rules(MAILS[:30]), doubting("d", "home", "dinner")]
        records = [record for record in records if record.label != "home" or record.example_id == "d"]
        found = self.induced(records, suspects="drop")
        assert found.dropped == []
        assert "home" in {label for rule in found.rules for label in rule.labels}


class TestExperiment:
    def test_a_tenth_of_the_labels_is_flipped(self):
        given = np.arange(200) % 4
        flipped = flip(given, None, np.random.default_rng(0))
        assert (flipped != given).sum() == 20
        assert set(flipped.tolist()) == {0, 1, 2, 3}
        near = flip(given, np.array([1, 2, 3, 0]), np.random.default_rng(0))
        assert set(((near - given) % 4).tolist()) == {0, 1}

    @pytest.mark.parametrize("near", [False, True])
    def test_flips_are_found_where_texts_tell_the_labels_apart(self, near):
        found = audited([mail.text for mail in MAILS], [mail.label for mail in MAILS], near=near, seed=0)
        assert found.wrong == 12
        assert found.right == found.doubted > found.wrong / 2
        true, flipped, sound = found.macro_f1
        assert true >= sound >= flipped


def test_each_label_of_an_example_is_doubted_by_itself():
    task = Task(predictor="self", label_field="tags", labels=LABELS, inputs=("text",), several=True)
    records = [
        MicroRule(example_id="one", inputs={"text": "Mail"}, label=label, rationale=f"{DOUBT_MARK} no", rule="If so.")
        for label in LABELS[:2]
    ]
    assert {(one.example_id, one.label) for one in audit(records, task).suspects} == {
        ("one", label) for label in LABELS[:2]
    }
