"""Unsound clusterings are found, made again and reported; sound ones are left alone."""

import json
import time
from typing import Any

import numpy as np
import pytest
from engine import calls, rules_in, sections
from tasks import LABELS, as_teacher, instruction, mail_task, mail_teacher, mails, micro_rule, micro_rules

from experiments.cluster_health.generator import NONE, collection
from experiments.cluster_health.measure import measure
from pld_dspy import demo
from pld_dspy.errors import DataError
from pld_dspy.induce.cluster import CELLS, MOST, average_linkage, condense, dbscan
from pld_dspy.induce.formats import about_format
from pld_dspy.induce.generalize import NOTE_TOKENS, NOTES, note_parts
from pld_dspy.induce.groups import ClusterCheck, cluster_band, clustering_problem
from pld_dspy.induce.induce import Induction, induce
from pld_dspy.induce.induce_config import InduceConfig
from pld_dspy.ledger.budget import Budget
from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.local.embedding import embed, tfidf_svd
from pld_dspy.rules import MicroRule
from pld_dspy.task.task import Task
from pld_dspy.teacher.signatures import WORDING_KINDS

TOPICS = ("winner prize", "lottery ticket", "jackpot casino", "pills pharmacy", "inherited fortune", "cheap watches")


def induced(records: list[MicroRule], *, task: Task | None = None, **config: Any) -> Induction:
    settings = InduceConfig(**config)
    return induce(records, task or mail_task(), config=settings)


def spam(n: int) -> list[MicroRule]:
    """``n`` different micro-rules of one label on six topics, the topic's number in the example's id."""
    return [micro_rule(f"{i % 6}-{i}", f"t{i}", "spam", f"{TOPICS[i % 6]} number{i}") for i in range(n)]


def topics_of(found: Induction) -> list[set[str]]:
    return [{one.split("-")[0] for one in rule.support} for rule in found.rules]


def blobs(count: int, size: int, *, spread: float = 0.02, seed: int = 0) -> np.ndarray:
    """``count`` bunches of ``size`` unit vectors around orthogonal directions."""
    rng = np.random.default_rng(seed)
    centres = np.eye(count + 1)[:count]
    vectors = np.repeat(centres, size, axis=0) + spread * rng.normal(size=(count * size, count + 1))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class TestWhatIsSound:
    def test_clusters_of_few_micro_rules_are_left_alone(self) -> None:
        records = read_jsonl(demo.rationales_file(), MicroRule)
        task = Task(predictor="self", label_field="budget", labels=demo.LABELS, inputs=("text",))
        found = induced(records, task=task)
        assert found.rules == induced(records, task=task, band=None).rules
        assert found.counts["about_format"] == 0
        assert found.counts["noise"] == len(found.noise)
        assert found.diagnosis.startswith(f"{len(records)} micro-rules gave {len(found.rules)} rules, the largest from")

    def test_that_there_is_no_problem_is_said_too(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level("INFO", "pld_dspy.induce"):
            found = induced(micro_rules(mails(60)))
        assert found.diagnosis == "60 micro-rules gave 9 rules, the largest from 9; no problem found."
        assert found.diagnosis in caplog.messages
        assert {name: count for name, count in found.counts.items() if count} == {
            "micro_rules": 60,
            "rules": 9,
            "largest": 9,
        }


class TestUnsoundClusterings:
    @pytest.mark.parametrize(
        ("clusterer", "said"),
        [
            (lambda vectors: np.zeros(len(vectors), dtype=int), "spam (one cluster of 100%)"),
            (lambda vectors: np.full(len(vectors), -1), "spam (100% noise)"),
            (lambda vectors: np.arange(len(vectors)), "spam (120 fragments)"),
            (lambda vectors: np.arange(len(vectors)) % 3, "spam (3 clusters)"),
        ],
    )
    def test_an_unsound_clustering_is_reported_and_made_again(self, clusterer, said) -> None:
        records = spam(120)
        found = induced(records, clusterer=clusterer)
        assert f"clustered again: {said}" in found.diagnosis
        assert all(len(topics) == 1 for topics in topics_of(found))
        assert set().union(*topics_of(found)) == set("012345")
        assert len(found.rules) <= cluster_band(120, (0.5, 2.0))[1]

    def test_without_a_band_nothing_is_clustered_again(self) -> None:
        found = induced(spam(120), clusterer=lambda vectors: np.zeros(len(vectors), dtype=int), band=None, max_share=1)
        assert len(found.rules) == 1
        assert "again" not in found.diagnosis

    def test_a_rare_label_survives_a_clusterer_that_calls_it_noise(self) -> None:
        records = [*spam(40), micro_rule("w", "t", "work", "deadline"), micro_rule("v", "t", "work", "invoice")]
        found = induced(records, clusterer=dbscan(0.05, 5))
        assert "all noise, yet kept as rules: " in found.diagnosis
        assert "work (2)" in found.diagnosis
        assert {label for rule in found.rules for label in rule.labels} == {"spam", "work"}

    def test_labels_without_a_rule_are_named(self) -> None:
        found = induced(spam(10))
        assert found.diagnosis.endswith("no rule for home, work.")
        assert found.counts["labels_without_rule"] == 2

    def test_a_cluster_that_is_too_big_is_split_and_that_is_said(self) -> None:
        found = induced(spam(60), clusterer=lambda vectors: np.zeros(len(vectors), dtype=int))
        assert "too big a cluster, split: spam (60 of 60)" in found.diagnosis
        assert len(found.rules) >= 4

    def test_many_labels_are_counted_and_three_named(self) -> None:
        labels = tuple(f"label{i}" for i in range(8))
        task = Task(predictor="self", label_field="label", labels=labels, inputs=("text",))
        found = induced([micro_rule("m", "t", "label0", "word")], task=task)
        assert "no rule for label1, label2, label3 and 4 more." in found.diagnosis

    @pytest.mark.parametrize(
        ("sizes", "expected"),
        [
            ([20, 20, 20, 20, 20], None),
            ([60, 20, 20], "one cluster of 60%"),
            ([25, 25, 25], "25% noise"),
            ([50, 50], "2 clusters"),
            ([5] * 20, "20 fragments"),
        ],
    )
    def test_problems(self, sizes, expected) -> None:
        numbers = np.repeat(np.arange(len(sizes)), 1)
        numbers, weights = np.append(numbers, -1), np.append(sizes, 100 - sum(sizes))
        assert clustering_problem(numbers, weights, band=(3, 10), most_share=0.5) == expected


class TestFormats:
    @pytest.mark.parametrize(
        "text",
        [
            "Reply with a single label.",
            "Please output just one word, nothing else.",
            "The response must be in upper case.",
            "Your answer should contain no punctuation.",
            "Never explain the answer.",
            "When answering, give only the label.",
            "If unsure, still answer with exactly one of the labels.",
            "No preamble: return spam, work or home in lowercase.",
            "Wrap the label in brackets.",
            "Do not add quotation marks around the label.",
        ],
    )
    def test_rules_about_the_form_of_the_answer_are_known(self, text) -> None:
        assert about_format(text, LABELS)

    @pytest.mark.parametrize(
        "text",
        [
            instruction("json", "work"),
            "If the mail is in capital letters, answer spam.",
            "A mail in capital letters is spam; no further reasoning is needed.",
            "Answer home for short notes of one sentence.",
            "Use of quotation marks around a word signals irony.",
            "Mails that ask for a brief explanation come from colleagues.",
            "Answer with one word only. If the text mentions a meeting, answer work.",
        ],
    )
    def test_rules_about_the_decision_are_kept(self, text) -> None:
        assert not about_format(text, LABELS)

    @pytest.mark.parametrize("labels", [("top up", "top up failed"), ("top up failed", "top up")])
    def test_a_label_that_begins_another_is_not_named_along_with_it(self, labels) -> None:
        assert not about_format("Answer top up failed for short notes on a payment.", labels)
        assert about_format("Answer top up or top up failed, in one word.", labels)

    def test_they_are_dropped_and_counted(self) -> None:
        form = [
            MicroRule(example_id=f"f{i}", inputs={}, label="home", rationale="", rule="Answer with one word only.")
            for i in range(30)
        ]
        found = induced([*spam(12), *form])
        assert found.counts["about_format"] == 30
        assert found.rules == induced(spam(12)).rules
        assert "30 about the answer's format dropped" in found.diagnosis
        assert "no rule for home, work" in found.diagnosis
        assert not {record.example_id for record in form} & set(found.noise)
        with pytest.raises(DataError, match="All 30 micro-rules are about the answer's format"):
            induced(form)


class TestSize:
    def test_up_to_a_limit_points_stand_for_themselves(self) -> None:
        vectors = blobs(3, 10)
        points, _, owners = condense(vectors)
        assert points is vectors
        assert owners.tolist() == list(range(30))

    def test_equal_points_are_collapsed_first(self) -> None:
        vectors = np.eye(9)[np.arange(MOST + 1) % 9]
        points, weights, owners = condense(vectors)
        assert len(points) == 9
        assert weights.sum() == MOST + 1
        assert (points[owners] == vectors).all()

    def test_beyond_it_neighbourhoods_stand_for_points(self) -> None:
        vectors = blobs(4, 1000)
        points, weights, owners = condense(vectors)
        assert len(points) <= CELLS
        assert weights.sum() == len(vectors)
        assert np.einsum("nd,nd->n", points[owners], vectors).min() > 0.95

    @pytest.mark.parametrize("seed", range(4))
    def test_many_equal_micro_rules_still_give_one_rule_a_text(self, seed) -> None:
        words = [word for topic in TOPICS for word in topic.split()]
        np.random.default_rng(seed).shuffle(words)
        records = [micro_rule(f"m{i}", f"t{i}", "spam", words[i % 12]) for i in range(MOST + 1)]
        found = induced(records)
        assert "clustered by neighbourhoods: spam (3001 as 12)" in found.diagnosis
        # Twelve texts without a common word have twelve directions, of which the SVD keeps eleven: which, is rounding,
        # and no text may be lost by it.
        assert sorted(rule.text for rule in found.rules) == sorted(instruction(word, "spam") for word in words)

    def test_average_linkage_finds_bunches_and_calls_accidents_noise(self) -> None:
        vectors = np.vstack([blobs(5, 20), [[0, 0, 0, 0, 0, 1]]])
        numbers = average_linkage(vectors, np.ones(101, dtype=int), (2, 12))
        assert [len(set(numbers[start : start + 20].tolist())) for start in range(0, 100, 20)] == [1] * 5
        assert numbers[-1] == -1
        heavy = np.ones(101, dtype=int)
        heavy[-1] = 9
        assert average_linkage(vectors, heavy, (2, 12))[-1] >= 0

    def test_one_text_more_often_than_points_are_compared_is_one_rule(self) -> None:
        records = [micro_rule(f"m{i}", f"t{i}", "spam", "lottery") for i in range(MOST + 1)]
        found = induced(records)
        assert [len(rule.support) for rule in found.rules] == [MOST + 1]
        assert "clustered by neighbourhoods: spam (3001 as 1)" in found.diagnosis

    def test_the_check_gives_every_micro_rule_the_cluster_of_its_neighbourhood(self) -> None:
        check = ClusterCheck(InduceConfig(band=(0.01, 2.0), clusterer=lambda points: points.argmax(axis=1)))
        numbers = check.cluster("spam", blobs(4, 1000))
        assert numbers.tolist() == np.repeat(np.arange(4), 1000).tolist()
        assert list(check.findings) == ["compacted"]

    def test_known_groups_are_recovered_where_plain_dbscan_sees_one(self) -> None:
        checked, plain = (measure(method, 3000, seed=1) for method in ("checked", "DBSCAN"))
        assert checked.recovered > 0.6 * checked.themes > 10 * plain.recovered
        assert checked.labels_lost == 0
        assert checked.rand > plain.rand

    def test_5000_micro_rules_take_seconds(self) -> None:
        given = collection(5_000)
        started = time.thread_time()
        found = induced(given.micro_rules, task=given.task)
        assert time.thread_time() - started < 10
        assert len(found.rules) < 400
        assert found.counts["about_format"] == sum(
            theme == NONE and about_format(rule.rule, given.task.labels)
            for rule, theme in zip(given.micro_rules, given.themes, strict=True)
        )


class TestParts:
    @pytest.mark.parametrize("n", [1, 2, 12, 13, 14, 100, 145])
    def test_parts_fit_and_lose_nothing(self, n) -> None:
        notes = [f"note {i} " + "x" * (i % 40) for i in range(n)]
        parts = note_parts(notes, most=12, characters=400)
        assert sorted(note for part in parts for note in part) == sorted(notes)
        assert all(len(part) <= 12 and sum(map(len, part)) <= 400 for part in parts)
        assert (len(parts) == 1) == (n <= 12)
        assert parts[0][0] == notes[0]

    def test_long_notes_are_cut_so_that_two_fit(self) -> None:
        parts = note_parts(["a" * 1000, "b" * 10, "c" * 10], most=12, characters=100)
        assert parts == [["a" * 50, "c" * 10], ["b" * 10]]

    @staticmethod
    def synthesized(
        n: int, *, ledger: Ledger | None = None, **teacher: object
    ) -> tuple[Induction, list[dict[str, str]]]:
        """Induce one rule from ``n`` different micro-rules; return it and what the teacher was given."""
        records = [micro_rule(f"m{i}", f"t{i}", "spam", f"sign{i}") for i in range(n)]
        lm = mail_teacher(**teacher)
        found = induce(
            records,
            mail_task(),
            config=InduceConfig(
                clusterer=lambda vectors: np.zeros(len(vectors), int), max_share=1, band=None, cues=False, drafts=0
            ),
            teacher=as_teacher(lm, ledger),
        )
        return found, [sections(call.user) for call in calls(lm)]

    @pytest.mark.parametrize(("n", "asked"), [(NOTES, 1), (NOTES + 1, 3), (150, 13 + 2 + 1)])
    def test_every_micro_rule_reaches_the_teacher_and_no_prompt_grows(self, n, asked) -> None:
        found, given = self.synthesized(n)
        [rule] = found.rules
        assert {word for words, _ in rules_in(rule.text) for word in words} == {f"sign{i}" for i in range(n)}
        assert len(given) == asked
        assert [len(json.loads(one["kinds"])) for one in given] == [1] * (asked - 1) + [len(WORDING_KINDS)]
        assert max(len(one["notes"]) for one in given[:13]) < 6 * NOTE_TOKENS
        assert found.counts["in_parts"] == (asked > 1)
        assert ("1 rules generalized in parts" in found.diagnosis) == (asked > 1)

    def test_a_part_without_an_answer_is_represented_by_its_most_typical_note(self):
        def wordings(given: dict[str, str]) -> str:
            return "[]" if len(json.loads(given["kinds"])) == 1 else f'["All of: {given["notes"].count("sign")}"]'

        found, _ = self.synthesized(30, answers={"wordings": wordings})
        assert found.fallbacks == []
        assert found.rules[0].wordings == ("All of: 3",)

    def test_a_cap_in_between_leaves_the_micro_rules(self) -> None:
        found, given = self.synthesized(30, ledger=Ledger(budget=Budget(teacher_calls=2)))
        assert len(given) == 2
        assert found.fallbacks == ["spam-1"]
        assert len(found.rules[0].wordings) == 5


def test_bad_settings_are_named() -> None:
    with pytest.raises(DataError, match=r"InduceConfig.band is \(2, 1\); give two multiples above 0"):
        InduceConfig(band=(2, 1))
    with pytest.raises(DataError, match=r"InduceConfig.suspects is 'burn'; Input should be 'keep', 'drop' or"):
        InduceConfig(suspects="burn")


def test_more_texts_get_more_components_up_to_a_bound() -> None:
    texts = [rule.rule for rule in collection(2001).micro_rules]
    assert embed(texts[:2000], tfidf_svd).shape[1] == 50
    assert embed(texts, tfidf_svd).shape[1] == 100
