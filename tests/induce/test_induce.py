"""From micro-rules to rules: every label represented, nothing swallowed, nothing made up."""

import json
import random
import time
from collections.abc import Callable

import dspy
import numpy as np
import pytest
from engine import calls, sections
from tasks import (
    INSTRUCTIONS,
    LABELS,
    WORDS,
    as_teacher,
    instruction,
    mail_task,
    mail_teacher,
    mails,
    micro_rule,
    micro_rules,
)

from pld_dspy.errors import DataError
from pld_dspy.induce import draft as drafts_module
from pld_dspy.induce.cluster import FEW, dbscan, hdbscan
from pld_dspy.induce.draft import DraftedRule, behind
from pld_dspy.induce.groups import Cluster, ClusterCheck, groups_of_label, merge_groups, one_line
from pld_dspy.induce.induce import Induction, induce
from pld_dspy.induce.induce_config import InduceConfig
from pld_dspy.ledger.budget import Budget
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.local.embedding import Embedder, embed, tfidf_svd
from pld_dspy.rules import DOUBT_MARK, MicroRule
from pld_dspy.task.task import Task

RECORDS = micro_rules(mails(60))


def induced(
    records: list[MicroRule] = RECORDS,
    *,
    lm: dspy.LM | None = None,
    task: Task | None = None,
    embedder: Embedder = tfidf_svd,
    confusions: dict[tuple[str, str], int] | None = None,
    drafts: int = 0,
    **config: object,
) -> Induction:
    given = {"config": InduceConfig(drafts=drafts, **config), "embedder": embedder, "teacher": as_teacher(lm)}
    return induce(records, task or mail_task(), confusions=confusions, **given)


def labelled(n: int, label: str, *, prefix: str = "m") -> list[MicroRule]:
    words = WORDS[label]
    return [micro_rule(f"{prefix}{label}{i}", f"text {i}", label, words[i % len(words)]) for i in range(n)]


def all_noise(vectors: np.ndarray) -> np.ndarray:
    return np.full(len(vectors), -1)


def one_cluster(vectors: np.ndarray) -> np.ndarray:
    return np.zeros(len(vectors), dtype=int)


def apart(vectors: np.ndarray) -> np.ndarray:
    return np.arange(len(vectors))


def test_each_keyword_becomes_a_rule_of_its_label_with_its_support():
    found = induced()
    assert sorted(rule.text for rule in found.rules) == sorted({record.rule for record in RECORDS})
    for rule in found.rules:
        supporting = [record for record in RECORDS if record.example_id in rule.support]
        assert {record.label for record in supporting} == set(rule.labels)
        assert rule.text in {record.rule for record in supporting}
    assert sorted(one for rule in found.rules for one in rule.support) == sorted(r.example_id for r in RECORDS)


def test_rules_stand_in_order_of_support_and_are_named_by_label():
    records = [*labelled(12, "spam"), *labelled(3, "work"), *labelled(6, "home")]
    found = induced(records, clusterer=one_cluster, max_share=1)
    assert [(rule.id, len(rule.support)) for rule in found.rules] == [("spam-1", 12), ("home-1", 6), ("work-1", 3)]


@pytest.mark.parametrize("clusterer", [all_noise, one_cluster, apart, hdbscan, dbscan(), dbscan(0.05, 50)])
def test_every_label_keeps_a_rule_whatever_the_clusterer_says(clusterer):
    records = [*labelled(40, "spam"), *labelled(2, "work"), *labelled(1, "home")]
    found = induced(records, clusterer=clusterer)
    assert {label for rule in found.rules for label in rule.labels} == set(LABELS)
    placed = [one for rule in found.rules for one in rule.support]
    assert sorted(placed + found.noise) == sorted(record.example_id for record in records)


def test_a_few_micro_rules_of_a_label_stay_apart_unless_they_say_the_same():
    assert hdbscan(np.eye(FEW)).tolist() == list(range(FEW))
    records = [micro_rule(f"m{i}", f"t{i}", "spam", word) for i, word in enumerate(["winner", "lottery", "winner"])]
    found = induced([*records, micro_rule("w", "t", "work", "minutes")])
    assert [rule.support for rule in found.rules] == [("m0", "m2"), ("m1",), ("w",)]


def test_a_rare_label_is_not_merged_into_a_frequent_one():
    """The same sign for two labels is a conflict, not one rule, however near an embedder puts the two."""
    records = [micro_rule(f"s{i}", f"t{i}", "spam", "invoice") for i in range(20)]
    records += [micro_rule(f"w{i}", f"u{i}", "work", "invoice") for i in range(2)]
    for embedder in (tfidf_svd, directions({"invoice": 10})):
        found = induced(records, embedder=embedder)
        assert sorted(rule.labels for rule in found.rules) == [("spam",), ("work",)]


def directions(angles: dict[str, float]) -> Callable[[list[str]], np.ndarray]:
    """An embedder that gives each text the direction, in degrees, of the first word in it."""

    def embedder(texts: list[str]) -> np.ndarray:
        found = [next(angle for word, angle in angles.items() if word in text) for text in texts]
        return np.stack([np.cos(np.radians(found)), np.sin(np.radians(found))], axis=1)

    return embedder


def test_noise_joins_the_nearest_cluster_or_is_listed():
    words = ["winner", "winner", "lottery", "lottery", "jackpot", "garden"]
    records = [micro_rule(f"m{i}", f"t{i}", "spam", word) for i, word in enumerate(words)]
    settings = {
        "embedder": directions({"winner": 0, "lottery": 90, "jackpot": 80, "garden": 200}),
        "clusterer": lambda vectors: np.array([0, 0, 1, 1, -1, -1]),
    }
    found = induced(records, attach=0.9, **settings)
    assert found.noise == ["m5"]
    assert sorted(sorted(rule.support) for rule in found.rules) == [["m0", "m1"], ["m2", "m3", "m4"]]
    assert induced(records, attach=-1.0, **settings).noise == []


def test_noise_of_one_label_is_listed_though_the_example_supports_a_rule_for_another():
    records = [*labelled(2, "spam"), micro_rule("both", "t", "spam", "jackpot"), micro_rule("both", "t", "work", "x")]
    by_label = {3: np.array([0, 0, -1]), 1: np.array([0])}
    found = induced(records, clusterer=lambda vectors: by_label[len(vectors)], attach=2.0)
    assert (found.noise, found.counts["noise"]) == (["both"], 1)
    assert [rule.support for rule in found.rules if rule.labels == ("work",)] == [("both",)]


def test_clusters_that_say_the_same_become_one_rule():
    records = [micro_rule(f"m{i}", f"t{i}", "spam", word) for i, word in enumerate(["winner", "lottery"] * 10)]
    apart_rules = induced(records, clusterer=apart, merge=1.1).rules
    joined = induced(records, clusterer=apart).rules
    assert len(apart_rules) == 20
    assert sorted(len(rule.support) for rule in joined) == [10, 10]


def test_a_cluster_that_swallows_its_label_is_split():
    records = [micro_rule(f"m{i}", f"t{i}", "spam", f"topic{i % 6} theme{i % 6}") for i in range(60)]
    found = induced(records, clusterer=one_cluster, max_share=0.25)
    assert len(found.rules) >= 4
    assert max(len(rule.support) for rule in found.rules) <= 30
    assert len(induced(records, clusterer=one_cluster, max_share=1.0).rules) == 1


def test_a_few_micro_rules_are_never_split():
    assert len(induced(labelled(8, "spam"), clusterer=one_cluster).rules) == 1


def test_extraction_takes_different_micro_rules_nearest_the_centre_the_sound_ones_first():
    records = [micro_rule(f"a{i}", f"t{i}", "spam", "winner of a prize") for i in range(6)]
    records += [micro_rule("b", "t", "spam", "winner of a cup"), micro_rule("c", "t", "spam", "prize draw")]
    records[0] = micro_rule("a0", "t0", "spam", "winner of the prize", rationale=f"{DOUBT_MARK} Hm.")
    [rule] = induced(records, clusterer=one_cluster, wordings=4).rules
    assert rule.wordings[0] == records[1].rule
    assert len(set(rule.wordings)) == 4
    assert rule.wordings[-1] == records[0].rule
    assert rule.support[-1] == "a0"
    assert [len(one.wordings) for one in induced(records, clusterer=one_cluster, wordings=1).rules] == [1]


def test_the_teacher_writes_the_wordings():
    lm = mail_teacher()
    found = induced(lm=lm, wordings=3, cues=False)
    assert len(calls(lm)) == len(found.rules)
    assert {len(rule.wordings) for rule in found.rules} == {3}
    assert found.fallbacks == []
    user = calls(lm)[0].user
    for said in (INSTRUCTIONS, "spam, work, home", RECORDS[0].rule, f"(Why: {RECORDS[0].rationale})"):
        assert said in user
    assert [kind.split(":")[0] for kind in json.loads(sections(user)["kinds"])] == ["imperative", "cues", "contrast"]
    kinds = {f"teacher {kind}" for kind in ("imperative", "cues", "contrast")}
    assert all(set(rule.origins) == kinds for rule in found.rules)


def test_a_teacher_sees_the_whole_task_beside_the_cluster_that_it_words():
    lm = mail_teacher()
    found = induced(lm=lm, confusions={("spam", "work"): 7, ("home", "work"): 2})
    asked = [sections(call.user) for call in calls(lm)]
    assert {one["task"] for one in asked} == {found.brief}
    for said in ("spam (", "work (", "home ("):
        assert said in found.brief
    assert "answers work where spam is right, 7 times; work where home is right, 2 times" in found.brief
    for record in (RECORDS[0], RECORDS[-1]):
        assert record.rule in found.brief
    for one in asked:
        near = json.loads(one["near"])
        assert near
        assert all(note.split(": ")[0] in LABELS and note.split(": ")[0] != one["label"] for note in near)


def test_wordings_are_cleaned_and_limited():
    lm = mail_teacher({"wordings": lambda given: json.dumps([" A\n rule. ", "", "A rule.", "B.", "C.", "D."])})
    assert {rule.wordings for rule in induced(lm=lm, wordings=2, cues=False).rules} == {("A rule.", "B.")}


def test_cues_and_the_most_typical_micro_rule_stand_beside_a_teachers_wordings():
    lm = mail_teacher({"wordings": lambda given: json.dumps(["First.", "Second.", "Third."])})
    found, plain = induced(lm=lm), induced()
    for rule, other in zip(found.rules, plain.rules, strict=True):
        typical, *rest = other.wordings
        cue = rest[:1] if rest and rest[0].startswith("If the text is about") else []
        assert rule.wordings == ("First.", "Second.", "Third.", *cue, typical)[:5]
    assert any(wording.startswith("If the text is about") for rule in found.rules for wording in rule.wordings)


def drafting_teacher(*drafts: list[dict[str, object]], **settings: object) -> dspy.LM:
    """A teacher that writes one of ``drafts`` after the other, and words single clusters with its own texts."""
    left = iter(drafts)
    alone = json.dumps(["Alone.", "If a, answer it.", "It, not that."])
    return mail_teacher({"rules": lambda given: json.dumps(next(left)), "wordings": lambda given: alone}, **settings)


class TestDrafts:
    def test_one_call_writes_all_rules_in_view_of_all_clusters(self):
        lm, plain = mail_teacher(), induced()
        found = induced(lm=lm, drafts=1)
        assert len(calls(lm)) == 1
        kinds = json.loads(sections(calls(lm)[0].user)["kinds"])
        assert len(kinds) == len(plain.rules) == len(found.rules)
        assert {rule.support for rule in found.rules} == {rule.support for rule in plain.rules}
        assert found.fallbacks == []
        for rule in found.rules:
            assert rule.origins[:3] == ("teacher imperative", "teacher cues", "teacher contrast")
            assert set(rule.origins[3:]) <= {"cues", "micro-rule"}

    def test_a_rule_has_the_examples_of_all_that_it_covers_and_a_boundary_has_both_labels(self):
        plain = induced()
        drafted = [
            {"kinds": "1, 2", "imperative": "If the text mentions a sign, answer it."},
            {"kinds": [1, len(plain.rules)], "cues": "spam, not work."},
            {"kinds": [99], "imperative": "About nothing."},
            {"kinds": [3], "imperative": "If <sign>, answer <label>."},
        ]
        found = induced(lm=drafting_teacher(drafted), drafts=1)
        merged, boundary, *single = found.rules
        assert merged.wordings[0] == "If the text mentions a sign, answer it."
        by_support = {rule.support: rule for rule in plain.rules}
        covered = [rule for rule in plain.rules if set(rule.support) <= set(merged.support)]
        assert len(covered) == 2
        assert len(merged.support) == sum(len(rule.support) for rule in covered)
        assert len(boundary.labels) == 2
        assert boundary.wordings == ("spam, not work.",)
        assert boundary.origins == ("teacher cues",)
        assert all(rule.wordings[0] == "Alone." for rule in single)
        assert {rule.support for rule in single} == by_support.keys() - {rule.support for rule in covered}

    def test_of_a_shared_cluster_each_rule_has_the_micro_rules_nearest_to_it(self):
        words = "wine", "gift", "wine beer", "gift card", "seat"
        notes = [micro_rule(str(row), word, "work", word) for row, word in enumerate(words)]
        other = [micro_rule("5", "gift", "home", "gift")]
        clusters = [Cluster(notes), Cluster(other)]
        drafted = [
            DraftedRule([0], {"If the text mentions wine or beer.": "imperative"}, ""),
            DraftedRule([0], {"If the text mentions a gift or card.": "imperative"}, ""),
            DraftedRule([0], {"Wine or beer, said twice.": "imperative"}, ""),
            DraftedRule([0, 1], {"A gift or wine.": "imperative"}, ""),
        ]

        def seen(texts: list[str]) -> list[list[float]]:
            words = "wine", "gift", "beer", "card"
            return [[0.1, *(word in text.casefold() for word in words)] for text in texts]

        first, second, again, boundary = behind(drafted, clusters, seen)
        assert [[one.example_id for one in rule] for rule in (first, second, boundary)] == [
            ["0", "2", "4"],
            ["1", "3"],
            ["0", "1", "2", "3", "4", "5"],
        ]
        assert [one.example_id for one in again] == ["2"], "every rule has an example"

    def test_the_first_label_of_a_boundary_is_the_one_that_it_answers(self):
        ends = [1, len(induced().rules)]
        drafted = [
            {"kinds": ends, "imperative": f"If it says {word}, answer {one}, not {other}."}
            for word, one, other in (("win", "spam", "home"), ("dine", "home", "spam"))
        ]
        found = induced(lm=drafting_teacher(drafted), drafts=1).rules[:2]
        assert {*found[0].labels} == {*found[1].labels} == {"spam", "home"}
        assert [rule.labels[0] for rule in found] == ["spam", "home"]
        assert [rule.id for rule in found] == ["spam-1", "home-1"]

    def test_further_drafts_are_new_answers_whose_rules_join_the_pool(self, tmp_path):
        drafts = [[{"kinds": [1], "imperative": f"Draft {n}, answer it."}] for n in (1, 2)]

        def run(lm: dspy.LM, count: int) -> Induction:
            config, ledger = InduceConfig(drafts=count), Ledger(tmp_path / "ledger.jsonl")
            return induce(RECORDS, mail_task(), config=config, teacher=as_teacher(lm, ledger))

        single = run(drafting_teacher(drafts[0]), 1)
        more = drafting_teacher(drafts[1])
        both = run(more, 2)
        assert len(calls(more)) == 1
        assert len(both.rules) == len(single.rules) + 1
        assert [rule.wordings[0] for rule in both.rules[:2]] == ["Draft 1, answer it.", "Draft 2, answer it."]
        assert both.rules[1].origins[0] == "teacher imperative draw 2"
        silent = drafting_teacher()
        assert run(silent, 2) == both
        assert calls(silent) == []

    @pytest.mark.parametrize("said", ["no list", "[]", '[{"kinds": "all"}]', '[{"kinds": [1]}, 7]'])
    def test_a_draft_that_cannot_be_used_leaves_clusters_worded_one_by_one(self, said):
        lm = mail_teacher({"rules": lambda given: said})
        found, plain = induced(lm=lm, drafts=1), induced(lm=mail_teacher())
        assert [rule.wordings for rule in found.rules] == [rule.wordings for rule in plain.rules]
        assert found.fallbacks == []

    def test_many_clusters_are_drafted_in_several_prompts_and_pairs_are_seen_across_them(self, monkeypatch):
        monkeypatch.setattr(drafts_module, "AT_ONCE", 2)
        lm = mail_teacher()
        found = induced(lm=lm, drafts=1)
        kinds = [json.loads(sections(call.user)["kinds"]) for call in calls(lm)]
        own = [[line for line in given if "later request" not in line] for given in kinds]
        count = len(induced().rules)
        assert len(kinds) == -(-count // 2) > 1
        assert max(map(len, own)) - min(map(len, own)) <= 1
        assert [line.partition(".")[0] for given in own for line in given] == [str(n + 1) for n in range(count)]
        assert all(given[-1].startswith(f"{count}. ") for given in kinds)
        assert {rule.support for rule in found.rules} == {rule.support for rule in induced().rules}
        assert [rule for rule in found.rules if rule.origins[0].startswith("teacher")] == found.rules

    def test_a_rule_for_a_pair_may_cover_a_kind_of_a_later_prompt(self, monkeypatch):
        count = len(induced().rules)
        monkeypatch.setattr(drafts_module, "AT_ONCE", count - 1)
        pair = [{"kinds": [1, count], "imperative": "If it says win, answer spam, not home."}]
        boundary = induced(lm=drafting_teacher(pair, []), drafts=1).rules[0]
        assert boundary.labels == ("spam", "home")

    def test_a_rule_is_about_the_label_that_it_answers_whichever_kind_it_covers(self):
        drafted = [{"kinds": [1], "imperative": "If it says dine, answer home."}]
        rule = induced(lm=drafting_teacher(drafted), drafts=1).rules[0]
        assert (rule.id, rule.labels) == ("home-1", ("home", "spam"))

    def test_a_cluster_without_a_usable_answer_keeps_its_micro_rules(self):
        lm = mail_teacher({"wordings": lambda given: '[""]'})
        found = induced(lm=lm)
        assert found.fallbacks == [rule.id for rule in found.rules]
        assert {rule.origins[0] for rule in found.rules} == {"micro-rule"}

    def test_a_rule_has_the_teachers_reason_else_that_of_its_examples(self):
        drafted = [
            {"kinds": [1], "imperative": "Answer so.", "reason": "Spam\nsells."},
            {"kinds": [2], "cues": "Answer it."},
        ]
        rules = induced(lm=drafting_teacher(drafted), drafts=1).rules
        assert [rule.reason for rule in rules] == ["Spam sells.", *["It says so."] * (len(rules) - 1)]

    def test_without_a_teacher_drafts_mean_nothing(self):
        assert induced(drafts=3) == induced()
        assert {origin for rule in induced().rules for origin in rule.origins} == {"micro-rule", "cues"}


@pytest.mark.parametrize("answer", ["[]", '["", " "]', "no list at all", '{"a": 1}', '["If <Sign>, answer work."]'])
def test_an_unusable_synthesis_falls_back_on_the_micro_rules(answer):
    def wordings(given: dict[str, str]) -> str:
        return answer if "answer work" in given["notes"] else json.dumps([f"Answer {given['label']}."])

    found = induced(lm=mail_teacher({"wordings": wordings}), cues=False)
    extracted = induced(cues=False)
    assert found.fallbacks == [rule.id for rule in found.rules if rule.labels == ("work",)]
    assert found.fallbacks
    for rule, other in zip(found.rules, extracted.rules, strict=True):
        assert rule.wordings == (other.wordings if rule.id in found.fallbacks else (f"Answer {rule.labels[0]}.",))


@pytest.mark.parametrize("answer", ['["", " "]', '["If <Sign>, answer work."]'])
def test_an_unusable_synthesis_is_asked_for_once_more_with_the_reason(answer):
    def wordings(given: dict[str, str]) -> str:
        first = "answer work" in given["notes"] and "An earlier answer was refused: it" not in given["task"]
        return answer if first else json.dumps([f"Answer {given['label']}."])

    found = induced(lm=mail_teacher({"wordings": wordings}), cues=False)
    assert found.fallbacks == []
    assert {rule.wordings for rule in found.rules} == {(f"Answer {label}.",) for label in LABELS}


def test_beside_a_teachers_rules_the_clusters_are_worded_without_it_too():
    alone = induced()
    found = induced(lm=mail_teacher())
    assert [(one.wordings, one.origins, one.support) for one in found.extracted] == [
        (one.wordings, one.origins, one.support) for one in alone.rules
    ]
    ids = [one.id for one in (*found.rules, *found.extracted)]
    assert len(ids) == len(set(ids))
    assert alone.extracted == []
    for_none = induced(lm=mail_teacher({"wordings": lambda given: '[""]'}))
    assert for_none.extracted == []  # all stand in for the teacher's already


def test_a_cap_on_teacher_calls_leaves_the_other_rules_to_their_micro_rules():
    ledger, lm = Ledger(budget=Budget(teacher_calls=2)), mail_teacher()
    found = induce(RECORDS, mail_task(), config=InduceConfig(drafts=0), teacher=as_teacher(lm, ledger))
    assert len(calls(lm)) == 2
    assert found.fallbacks == [rule.id for rule in found.rules[2:]]
    assert "induce" in ledger.stopped


def test_a_reason_is_one_line_of_a_record_that_nobody_doubts():
    doubted, silent, said = labelled(3, "spam")
    doubted = doubted.model_copy(update={"rationale": f"{DOUBT_MARK} It may be work."})
    silent = silent.model_copy(update={"rationale": ""})
    said = said.model_copy(update={"rationale": f"It sells.\n {'It sells 2.5 of it. ' * 30}"})
    assert Cluster([doubted]).reason == ""
    assert Cluster([doubted, silent, said]).reason == f"It sells. {'It sells 2.5 of it. ' * 11}".strip()
    assert one_line("word " * 99) == f"{'word ' * 47}..."


def test_the_same_micro_rules_give_the_same_rules():
    assert induced() == induced()


def test_labels_with_like_names_give_different_ids():
    labels = ("C", "C++", "c", "\N{GRINNING FACE}", "top up", "top-up")
    task = Task(predictor="self", label_field="label", labels=labels, inputs=("text",))
    records = [micro_rule(f"m{i}", f"t{i}", label, f"word{i}") for i, label in enumerate(labels)]
    ids = [rule.id for rule in induced(records, task=task).rules]
    assert len(set(ids)) == len(labels)
    assert sorted(ids) == ["c-1", "c-2", "c-3", "label-1", "top_up-1", "top_up-2"]


def test_2000_random_micro_rules_take_seconds():
    rng = random.Random(0)
    vocabulary = [f"word{i}" for i in range(300)]
    records = [
        micro_rule(f"m{i}", f"t{i}", rng.choice(LABELS), " ".join(rng.choices(vocabulary, k=12))) for i in range(2000)
    ]
    started = time.thread_time()
    found = induced(records)
    assert time.thread_time() - started < 10
    assert len(found.rules) < 200
    assert sum(len(rule.support) for rule in found.rules) + len(found.noise) == 2000


def test_identical_micro_rules_are_one_rule():
    found = induced([micro_rule(f"m{i}", f"t{i}", "spam", "winner") for i in range(50)])
    assert [(rule.wordings, len(rule.support)) for rule in found.rules] == [((instruction("winner", "spam"),), 50)]


def test_nothing_but_stop_words_is_no_obstacle():
    empty = MicroRule(example_id="m", inputs={}, label="spam", rationale="", rule="if so, then")
    assert len(induced([empty] * 3).rules) == 1


def test_bad_settings_and_inputs_are_named():
    with pytest.raises(DataError, match="no micro-rule"):
        induced([])
    with pytest.raises(DataError, match=r"InduceConfig.wordings is 0"):
        InduceConfig(wordings=0)
    with pytest.raises(DataError, match=r"InduceConfig.drafts is -1"):
        InduceConfig(drafts=-1)
    with pytest.raises(DataError, match=r"InduceConfig.audit is 'me'; Input should be 'data' or 'teacher'"):
        InduceConfig(audit="me")
    with pytest.raises(DataError, match=r"InduceConfig.max_share is 1.5"):
        InduceConfig(max_share=1.5)


@pytest.mark.parametrize("vectors", [np.ones((3, 2)), np.full((2, 2), np.nan), np.ones(2)])
def test_a_broken_embedder_is_refused(vectors):
    with pytest.raises(DataError, match=r"The embedder returned an array of shape .* for 2 texts"):
        embed(["a", "b"], lambda texts: vectors)


@pytest.mark.parametrize("numbers", [[0] * 12, [0] * 14, [[0]] * 13])
def test_a_broken_clusterer_is_refused(numbers):
    with pytest.raises(DataError, match=r"The clusterer gave an array of shape .* for 13 vectors of the label 'spam'"):
        induced(labelled(13, "spam"), clusterer=lambda vectors: numbers)


def test_embedding_gives_unit_vectors_that_tell_topics_apart():
    vectors = embed(["the lottery winner", "a lottery winner", "garden dinner", "the garden dinner"], tfidf_svd)
    similar = vectors @ vectors.T
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert similar[0, 1] > 0.9 > 0.5 > similar[0, 2]


def test_groups_and_merging_on_plain_vectors():
    vectors = embed(["x"] * 4, lambda texts: np.array([[1.0, 0.0], [0.99, 0.01], [0.0, 1.0], [0.6, 0.6]]))
    check = ClusterCheck(InduceConfig(max_share=1.0, attach=0.9))
    assert groups_of_label(vectors, np.array([0, 0, 1, -1]), check, label="spam") == [[0, 1], [2]]
    assert merge_groups(vectors, [[0], [1], [2]], similarity=0.95) == [[0, 1], [2]]


def test_settings_are_rebuilt_from_their_values():
    config = InduceConfig(drafts=3, band=(1, 3), suspects="drop")
    assert InduceConfig(**config.model_dump()) == config
