"""The benchmark of rule searches: its students are as described, its figures are right, and ours saves calls.

What holds on average, over many students or searches: ``pytest -m long tests/experiments/test_search_cost.py``.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from tasks import good_rules, rule_set
from typer.testing import CliRunner

from experiments.search_cost import benchmark, best_arm, methods, summary
from experiments.search_cost import replay as replays
from experiments.search_cost import table as tables
from experiments.search_cost.__main__ import app
from experiments.search_cost.arms import Arms, macro_f1
from experiments.search_cost.benchmark import Cell, CellResult
from experiments.search_cost.methods import METHODS, REFERENCE
from experiments.search_cost.setting import Outcome, Setting
from experiments.search_cost.students import FAMILIES, HARMFUL, LABELS, USEFUL, Student, make_student
from experiments.search_cost.surface import Surface, heed
from experiments.search_cost.synthetic_evaluator import SyntheticEvaluator
from experiments.search_cost.table import Candidate, Header, Table
from pld_dspy.errors import BudgetExceeded, DataError, RunError
from pld_dspy.rules import Rule, RuleSet
from pld_dspy.scoring import figures as scoring
from pld_dspy.search.space import Space
from pld_dspy.search.storage import open_study
from pld_dspy.student.redecide import objective_of

EVERY = slice(None)
PINNED = [2, 2, 0, 1, 1, 0, 1, 2, 2, 0, 2, 0]


def setting(student: Student, *, budget: int, seed: int = 0) -> Setting:
    return Setting(
        evaluator=SyntheticEvaluator(student),
        rules=student.rules,
        valset=student.valset,
        budget=budget,
        seed=seed,
    )


def objective(student: Student, rules: RuleSet | None) -> float:
    return objective_of(rules, student.valset, SyntheticEvaluator(student), stage="search", calibrated=False)


def chosen(student: Student, numbers: Sequence[int]) -> RuleSet:
    """Rules by number, each in its strongest wording."""
    best = student.surface.strength.argmax(axis=1)
    return rule_set(*(student.rules[j].with_wording(int(best[j])) for j in numbers))


def random_set(rules: Sequence[Rule], rng: np.random.Generator, most: int) -> RuleSet:
    """1 to ``most`` random rules, each number equally likely, in random order and wordings."""
    size = int(rng.integers(1, min(most, len(rules)) + 1))
    drawn = [rules[j] for j in rng.choice(len(rules), size=size, replace=False)]
    return rule_set(*(rule.with_wording(int(rng.integers(len(rule.wordings)))) for rule in drawn))


# Students


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_arguments_give_the_same_student(family) -> None:
    one, other, different = (make_student(family, 10, 40, seed) for seed in (3, 3, 4))
    assert one.rules == other.rules
    assert one.true_macro_f1(one.planted()) == other.true_macro_f1(other.planted())
    assert one.true_macro_f1(None) != different.true_macro_f1(None)


def test_a_student_is_the_same_in_every_process() -> None:
    student = make_student("chaotic", 20, 100, 0)
    assert student.surface.answers(student.prompt(student.planted()), slice(0, 12)).tolist() == PINNED


def test_an_answer_depends_on_prompt_and_example_alone() -> None:
    student = make_student("chaotic", 10, 40, 0)
    prompts = [student.prompt(random_set(student.rules, np.random.default_rng(seed), 6)) for seed in range(5)]
    whole = [student.surface.answers(prompt, EVERY) for prompt in prompts]
    for prompt, answers in zip(reversed(prompts), reversed(whole), strict=True):
        assert (student.surface.answers(prompt, slice(7, 20)) == answers[7:20]).all()


def by_hand(**changes: Any) -> Surface:
    """Two labels, which the student never tells apart: rules 0 and 1 are right, 2 is wrong, 3 says nothing."""
    golds = np.array([0, 1] * 4)
    settings = {
        "start": np.tile([1.0, 0.0], (8, 1)),
        "cover": np.stack([golds == 0, golds == 1, golds == 0, golds == 2], axis=1).astype(float),
        "rule_labels": np.array([0, 1, 1, 0]),
        "strength": np.full((4, 1), 3.0),
        "twin": np.arange(4),
        "pairs": np.empty((0, 2), dtype=np.int64),
        "club": np.full(4, -1),
        "needed": 1,
        "temperature": 0.0,
        "salt": np.zeros((8, 2), dtype=np.uint64),
    }
    return Surface(**{**settings, **changes})


def accuracy(surface: Surface, *numbers: int) -> float:
    return float((surface.answers(tuple((j, 0) for j in numbers), EVERY) == np.array([0, 1] * 4)).mean())


def test_a_surface_made_by_hand_has_its_known_best_set() -> None:
    surface = by_hand()
    subsets = [tuple(j for j in range(4) if number >> j & 1) for number in range(16)]
    scores = {subset: accuracy(surface, *subset) for subset in subsets}
    assert scores[()] == 0.5
    assert scores[(1,)] == scores[(0, 1)] == 1.0
    assert scores[(2,)] == 0.0
    assert scores[(1, 2)] == 0.5
    assert scores[(1, 3)] == 1.0


def test_rivals_turn_each_other_round() -> None:
    surface = by_hand(pairs=np.array([[0, 1]]))
    assert accuracy(surface, 1) == 1.0
    assert accuracy(surface, 0, 1) < 0.6


def test_a_club_counts_once_enough_of_it_are_there() -> None:
    surface = by_hand(club=np.array([-1, 0, -1, 0]), needed=2)
    assert accuracy(surface, 1) == 0.5
    assert accuracy(surface, 1, 3) == 1.0


def test_twins_are_felt_once_and_the_stronger_wording_decides() -> None:
    start = np.tile([2.5, 0.0], (8, 1))
    strength = np.full((4, 1), 1.4)
    cover = by_hand().cover[:, [0, 1, 1, 3]]
    apart = by_hand(start=start, strength=strength, cover=cover)
    assert accuracy(apart, 1, 2) == 1.0
    assert accuracy(replace(apart, twin=np.array([0, 1, 1, 3])), 1, 2) == 0.5
    assert accuracy(replace(apart, strength=strength * 2), 1) == 1.0


def test_the_ends_are_heeded_most_and_long_lists_less() -> None:
    weights = heed(9)
    assert weights[0] > weights[-1] > weights[4]
    assert heed(25)[0] < heed(9)[0] < heed(1)[0]


@pytest.mark.long
@pytest.mark.parametrize("family", FAMILIES)
def test_the_useful_rules_beat_no_rules_all_rules_and_random_ones(family) -> None:
    scores = []
    for seed in range(3):
        student, rng = make_student(family, 30, 60, seed), np.random.default_rng(seed)
        others = [None, rule_set(*student.rules), *(random_set(student.rules, rng, 12) for _ in range(5))]
        scores.append([student.true_macro_f1(rules) for rules in (student.planted(), *others)])
    planted, *others = np.mean(scores, axis=0)
    assert planted > max(others) + 0.03
    assert planted > others[0] + 0.15


@pytest.mark.long
def test_each_kind_of_rule_does_what_its_name_says() -> None:
    gains: dict[str, list[float]] = {}
    for seed in range(3):
        student = make_student("additive", 20, 60, seed)
        without = student.true_macro_f1(None)
        for j, kind in enumerate(student.kinds):
            gains.setdefault(kind, []).append(student.true_macro_f1(chosen(student, [j])) - without)
    means = {kind: np.mean(values) for kind, values in gains.items()}
    assert means["useful"] > 0.02
    assert means[HARMFUL] < -0.01
    assert abs(means["inert"]) < 0.01
    assert {len(one.wordings) for one in student.rules} == {2, 3}


@pytest.mark.long
def test_redundant_rules_add_little_to_the_rules_that_they_repeat() -> None:
    gains = []
    for seed in range(4):
        student = make_student("additive", 30, 60, seed)
        useful = [j for j, kind in enumerate(student.kinds) if kind == USEFUL]
        copies = [j for j, kind in enumerate(student.kinds) if kind == "redundant"]
        both, alone = (student.true_macro_f1(chosen(student, numbers)) for numbers in (useful + copies, useful))
        gains.append((both - alone) / len(copies) - (alone - student.true_macro_f1(None)) / len(useful))
    assert np.mean(gains) < -0.01


@pytest.mark.long
def test_families_differ_as_promised():
    def discordance(family: str) -> float:
        student = make_student(family, 20, 60, 0)
        prompt = student.prompt(student.planted())
        return float((student.surface.answers(prompt, EVERY) != student.surface.answers(prompt[1:], EVERY)).mean())

    def first_gain(family: str) -> float:
        """What a useful rule adds on its own, as a share of what all useful rules add."""
        shares = []
        for seed in range(3):
            student = make_student(family, 20, 60, seed)
            without = student.true_macro_f1(None)
            alone = [
                student.true_macro_f1(chosen(student, [j])) - without
                for j, kind in enumerate(student.kinds)
                if kind == USEFUL
            ]
            shares.append(np.sum(alone) / (student.true_macro_f1(student.planted()) - without))
        return float(np.mean(shares))

    assert discordance("chaotic") > discordance("additive") + 0.1
    assert first_gain("threshold") < 0.7 * first_gain("additive")
    assert len(make_student("additive", 20, 60, 0).surface.pairs) == 0
    student = make_student("conflict", 20, 60, 0)
    rivals = {kind for pair in student.surface.pairs for kind in (student.kinds[j] for j in pair)}
    everything = chosen(student, [j for j, kind in enumerate(student.kinds) if kind == USEFUL])
    assert rivals == {USEFUL}
    assert student.true_macro_f1(student.planted()) > student.true_macro_f1(everything) + 0.05


# The evaluator's face


def test_calls_are_counted_by_content() -> None:
    student = make_student("additive", 6, 30, 0)
    asked, one = SyntheticEvaluator(student), chosen(student, [0, 1])
    first = asked.labels(one, student.valset[:10], stage="search")
    assert asked.calls == 10
    assert asked.labels(one.model_copy(), student.valset[:10], stage="other") == first
    assert asked.calls == 10
    assert [answer.outputs["label"] for answer in asked.answers(one, student.valset[:12], stage="search")][:10] == first
    assert asked.calls == 12
    asked.labels(None, student.valset, stage="search")
    asked.labels(RuleSet(), student.valset, stage="search")
    assert asked.calls == 42
    asked.labels(chosen(student, [1, 0]), student.valset[:1], stage="search")
    assert asked.calls == 43


def test_the_objective_is_the_macro_f1_of_the_labels() -> None:
    student = make_student("additive", 6, 30, 0)
    labels = SyntheticEvaluator(student).labels(student.planted(), student.valset, stage="search")
    golds = [example.label for example in student.valset]
    assert objective(student, student.planted()) == scoring.macro_f1(golds, labels, LABELS)


# Methods


TINY = {"plain": methods.plain, "ours": methods.ours_within} | {
    name: METHODS[name].run for name in ("tpe_wilcoxon", "tpe_halving", "tpe_minibatch")
}


@pytest.mark.parametrize("name", TINY)
def test_every_method_gives_a_set_its_calls_and_its_way(name) -> None:
    student = make_student("additive", 6, 40, 0)
    given, again = setting(student, budget=600), setting(student, budget=600)
    outcome = TINY[name](given)
    assert outcome.calls == given.evaluator.calls <= 1.25 * 600
    steps = [made for made, _ in outcome.curve]
    assert steps[0] == 0
    assert steps == sorted(steps)
    assert steps[-1] == outcome.calls
    assert student.prompt(outcome.curve[-1][1]) == student.prompt(outcome.chosen)
    assert TINY[name](again) == outcome
    assert objective(student, outcome.chosen) >= objective(student, None)


@pytest.mark.parametrize("name", ["tpe_wilcoxon", "tpe_halving"])
def test_a_stopped_trial_never_becomes_the_best_of_the_study(name, monkeypatch):
    studies: list[optuna.Study] = []

    def remembered() -> optuna.Study:
        studies.append(open_study())
        return studies[-1]

    monkeypatch.setattr(methods.baselines, "open_study", remembered)
    student = make_student("additive", 10, 80, 1)
    outcome = METHODS[name].run(setting(student, budget=30 * 80))
    trials = studies[0].get_trials()
    assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials)
    last = {trial.number: max(trial.intermediate_values) for trial in trials}
    sizes = {trial.number: len(trial.intermediate_values) for trial in trials}
    stopped = [number for number in sizes if (sizes if name == "tpe_wilcoxon" else last)[number] < 80 - 1]
    assert len(stopped) > 3
    assert outcome.calls < 30 * 80
    best, space = studies[0].best_trial, Space(student.rules)
    assert best.number not in stopped
    assert student.prompt(space.rule_set(space.candidate(best.params))) == student.prompt(outcome.chosen)


def test_the_minibatch_search_evaluates_every_fifth_time() -> None:
    student = make_student("additive", 10, 80, 0)
    outcome = METHODS["tpe_minibatch"].run(setting(student, budget=20 * 80))
    assert outcome.calls <= 20 * 35 + (2 + 4) * 80


def test_ablations_switch_one_thing_off(monkeypatch):
    seen = {}

    class Recorded:
        def __init__(self, rules, evaluator, valset, *, study, config, seed, on_trial) -> None:
            seen["config"] = config

        def run(self):
            return type("Found", (), {"best": None})

    monkeypatch.setattr(methods, "RuleSearch", Recorded)
    student = make_student("additive", 6, 40, 0)
    shipped = methods.SearchConfig()
    for name, switched in (("no_race", {"alpha": 0}), ("no_parsimony", {"parsimony": 0})):
        assert METHODS[name].run(setting(student, budget=100)) == Outcome(
            chosen=RuleSet(), calls=0, curve=[(0, RuleSet())] * 2
        )
        assert seen["config"] == shipped.model_copy(update=switched)
    METHODS["no_screening"].run(setting(student, budget=100))
    assert seen["config"].screen_calls == 0
    assert seen["config"].trials > shipped.trials
    METHODS[REFERENCE].run(setting(student, budget=150 * 40))
    assert seen["config"] == methods.SearchConfig(screen_calls=0, alpha=0, parsimony=0, trials=150)


COMPARED = [("additive", 0), ("conflict", 0)]


@pytest.mark.long
def test_ours_is_as_good_as_full_evaluations_at_a_third_of_the_calls() -> None:
    """A quick look at what the benchmark measures with care: on so few students, a point or two is chance."""
    spent, gained = [], []
    for family, seed in COMPARED:
        student = make_student(family, 10, 120, seed)
        full = methods.plain(setting(student, budget=50 * 120, seed=seed))
        own = methods.ours_within(setting(student, budget=13 * 120, seed=seed))
        spent.append((own.calls, full.calls))
        gained.append(student.true_macro_f1(own.chosen) - student.true_macro_f1(full.chosen))
    own_calls, full_calls = np.sum(spent, axis=0)
    assert own_calls <= full_calls / 3
    assert np.mean(gained) >= -0.02


# Bounds and tables


def test_the_bound_is_that_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(0.01, 0.02, 400)
    low, high = summary.bounds([values])
    margin = 1.645 * values.std() / 20
    assert low == pytest.approx(values.mean() - margin, abs=2e-4)
    assert high == pytest.approx(values.mean() + margin, abs=2e-4)
    assert summary.bounds([np.full(5, -0.003)]) == (pytest.approx(-0.003), pytest.approx(-0.003))


def test_students_are_drawn_within_their_family() -> None:
    apart = [np.full(10, 0.1), np.full(10, -0.1)]
    assert summary.bounds(apart) == (pytest.approx(0.0), pytest.approx(0.0))
    assert summary.bounds([np.concatenate(apart)])[0] < -0.02


def finished(
    method: str, family: str, seed: int, made: int, value: float, curve: Sequence[tuple[int, float]] = ()
) -> CellResult:
    return CellResult(
        cell=Cell(family=family, k=6, n=30, seed=seed, method=method),
        calls=made,
        rules=3,
        baseline=0.3,
        planted=0.8,
        macro_f1=value,
        curve=[(0, 0.3), *curve, (made, value)],
        seconds=1.0,
        code="now",
    )


def test_methods_are_compared_student_by_student() -> None:
    ran = [
        *(finished(REFERENCE, family, seed, 1000, 0.7 + seed / 100) for family in ("a", "b") for seed in range(10)),
        *(finished("ours", "a", seed, 200, 0.71 + seed / 100, [(100, 0.5)]) for seed in range(10)),
        *(finished("ours", "b", seed, 300, 0.68 + seed / 100, [(100, 0.7 + seed / 100)]) for seed in range(10)),
        finished("ours", "b", 11, 9, 0.1),
    ]
    rows = {(row.method, row.family): row for row in summary.compare(summary.by_method(ran))}
    a, b, both = (rows["ours", family] for family in ("a", "b", summary.POOLED))
    assert (a.problems, b.problems, both.problems) == (10, 10, 20)
    assert (a.calls, a.fewer, both.calls, both.fewer) == (200, 5.0, 250, 4.0)
    assert a.difference == pytest.approx(0.01) == pytest.approx(a.bound)
    assert b.difference == pytest.approx(-0.02) == pytest.approx(b.bound)
    assert both.difference == pytest.approx(-0.005)
    assert (a.non_inferior, b.non_inferior) == (True, False)
    assert both.worst == ("b", pytest.approx(-0.02))
    assert (a.parity, b.parity) == (pytest.approx(200), pytest.approx(100))
    assert rows[REFERENCE, summary.POOLED].difference == 0
    text = summary.markdown(list(rows.values()))
    assert "| ours | 20 | 250 | 4.0x | 0.740 | -0.005 [-0.005]" in text
    assert "b (-0.020)" in text


def test_parity_that_is_never_reached_is_said_so() -> None:
    ran = [finished(REFERENCE, "a", 0, 1000, 0.7), finished("ours", "a", 0, 200, 0.6)]
    row = next(row for row in summary.compare(summary.by_method(ran)) if row.method == "ours")
    assert row.parity is None
    assert row.non_inferior is None
    assert "| never |" in summary.markdown([row])


# The benchmark


@pytest.fixture
def ran(monkeypatch) -> list[Cell]:
    """Cells that were run, each in no time."""
    cells: list[Cell] = []

    def run(cell: Cell) -> CellResult:
        cells.append(cell)
        return finished(cell.method, cell.family, cell.seed, 10, 0.5).model_copy(
            update={"cell": cell, "code": benchmark.code()}
        )

    monkeypatch.setattr(benchmark, "run_cell", run)
    return cells


def test_a_bench_goes_on_where_it_was_left(tmp_path: Path, ran) -> None:
    wanted = list(benchmark.cells(["additive"], [(6, 30)], range(3), ["tpe_50", "ours"]))
    assert len(wanted) == 6
    benchmark.run_cells(wanted[:4], tmp_path)
    path = tmp_path / benchmark.CELLS_FILE
    path.write_text(path.read_text()[:-20])
    found = benchmark.run_cells(wanted, tmp_path)
    assert [one.cell for one in found] == wanted
    assert ran == [*wanted[:4], *wanted[3:]]
    benchmark.run_cells(wanted, tmp_path)
    assert len(ran) == 7


def test_cells_of_other_code_are_run_again(tmp_path: Path, ran) -> None:
    wanted = list(benchmark.cells(["additive"], [(6, 30)], range(2), ["ours"]))
    benchmark.run_cells(wanted, tmp_path)
    path = tmp_path / benchmark.CELLS_FILE
    path.write_text(path.read_text().replace(benchmark.code(), "another", 1))
    benchmark.run_cells(wanted, tmp_path)
    assert ran == [*wanted, wanted[0]]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    (tmp_path / benchmark.CELLS_FILE).write_text('{"cell": 3}\n')
    with pytest.raises(DataError, match=r"cells.jsonl line 1: cell"):
        benchmark.run_cells([], tmp_path)


@pytest.mark.parametrize("jobs", ["1", pytest.param("2", marks=pytest.mark.long)])
def test_the_command_writes_cells_and_table_and_each_process_finds_the_same(tmp_path: Path, jobs: str) -> None:
    arguments = ["synthetic", "--out", str(tmp_path), "--seeds", "1", "--family", "chaotic"]
    done = CliRunner().invoke(app, [*arguments, "--size", "5x30", "--method", "tpe_50", "--jobs", jobs])
    assert done.exit_code == 0, done.output
    assert {path.name for path in tmp_path.iterdir()} == {"cells.jsonl", "summary.md"}
    assert "| tpe_50 | 1 |" in (tmp_path / "summary.md").read_text()
    for wrong in (["--size", "5"], ["--family", "odd"], ["--method", "odd"]):
        assert isinstance(CliRunner().invoke(app, [*arguments, *wrong]).exception, DataError)
    cell = Cell(family="chaotic", k=5, n=30, seed=0, method="tpe_50")
    one = benchmark.run_cell(cell)
    assert benchmark.run_cells([cell], tmp_path)[0].curve == one.curve
    assert one.macro_f1 == one.curve[-1][1]
    assert one.calls <= 50 * 30


# Replays


def write_table(path: Path, answers: Sequence[tuple[str, str]], golds: str = "abab") -> Table:
    """A table of candidates (validation, test), one letter a label and '-' for no answer, each a rule of its own."""
    rules = [rule.model_copy(update={"id": f"r{number}"}) for number, rule in enumerate(good_rules()[: len(answers)])]
    tables.append_line(
        path,
        Header(
            student="by hand",
            labels=("a", "b"),
            rules=tuple(rules),
            examples="",
            validation=tuple(golds),
            test=tuple(golds),
        ),
    )
    for rule, columns in zip(rules, answers, strict=True):
        validation, test = (tuple(None if label == "-" else label for label in column) for column in columns)
        tables.append_line(path, Candidate.of(rule_set(rule), "searched", validation, test))
    return Table.load(path)


GOLDS = "ab" * 40
SOUND = GOLDS[:72] + "b" * 8
HALF = "a" * 80
MANY = [(HALF, HALF)] * 5 + [(SOUND, GOLDS)] + [(GOLDS[1:] + "a", HALF)] * 2


def test_a_table_by_hand(tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.jsonl", [("aaaa", "ab--"), ("abab", "abab"), ("ba-b", "aaaa")])
    found = replays.replay(table, seeds=3, budgets=[1.0], methods=["random_search"])
    assert (found.calls, found.candidates, found.n) == (12, 3, 4)
    assert (found.macro_f1, found.best) == (1.0, 1.0)
    assert found.rows[0].macro_f1 == [1.0] * 3
    assert found.rows[0].calls == [12] * 3
    assert replays.on_test(table)[0] == pytest.approx(scoring.macro_f1("abab", ["a", "b", None, None], "ab"))


@pytest.mark.parametrize("name", best_arm.METHODS)
def test_every_method_finds_the_best_arm_within_its_budget(name, tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.jsonl", MANY, GOLDS)
    row = replays.replay(table, seeds=5, budgets=[0.9], methods=[name]).rows[0]
    if name in ("random_search", "minibatch"):  # the one may not meet the arm, the other compares unequal examples
        assert np.mean(row.macro_f1) >= 0.6
    else:
        assert row.macro_f1 == [1.0] * 5
    assert max(row.calls) <= row.budget == round(0.9 * 8 * 80)
    if name not in ("random_search", "minibatch"):
        assert np.mean(row.calls) < row.budget


@pytest.mark.parametrize("name", best_arm.METHODS)
def test_test_answers_never_decide(name, tmp_path: Path) -> None:
    one = write_table(tmp_path / "one.jsonl", MANY, GOLDS)
    other = replace(one, candidates=[line.model_copy(update={"test": ("a",) * 80}) for line in one.candidates])
    calls_made = [replays.replay(table, seeds=4, budgets=[0.4], methods=[name]).rows[0].calls for table in (one, other)]
    assert calls_made[0] == calls_made[1]


def test_replays_are_told_as_a_table(tmp_path: Path) -> None:
    text = replays.markdown(replays.replay(write_table(tmp_path / "table.jsonl", MANY, GOLDS), seeds=2, budgets=[0.5]))
    assert "| pooled_race | 320 |" in text
    assert "8 candidates, 80 validation examples; all answers take 640 calls" in text
    with pytest.raises(DataError, match="budget of 64 is less than one evaluation, 80 calls"):
        replays.replay(Table.load(tmp_path / "table.jsonl"), seeds=1, budgets=[0.1])


def sixty_candidates() -> Table:
    """60 sets of 6 rules on 120 validation and 150 test examples, each set with a chance of its own to be right."""
    rng, rules, many = np.random.default_rng(0), good_rules()[:6], "abc" * 50
    header = Header(
        student="by hand",
        labels=("a", "b", "c"),
        rules=tuple(rules),
        examples="",
        validation=tuple(many[:120]),
        test=tuple(many),
    )
    lines = []
    for number, chance in enumerate(rng.uniform(0.4, 0.9, size=60)):
        used = tuple((rule.id, 0) for rule in rules if rng.random() < 0.5)
        answers = [gold if rng.random() < chance else "a" for gold in many + many[:120]]
        validation, test = tuple(answers[150:]), tuple(answers[:150])
        lines.append(Candidate(digest=str(number), kind="searched", rules=used, validation=validation, test=test))
    return Table(header, lines)


@pytest.mark.long
def test_sixty_candidates_are_replayed_within_every_default_budget() -> None:
    table = sixty_candidates()
    found = replays.replay(table, seeds=2)
    assert {row.budget for row in found.rows} == {360, 720, 1440, 1800, 3600}
    assert all(120 <= calls_made <= row.budget for row in found.rows for calls_made in row.calls)
    golds, labels = table.header.validation, table.header.labels
    on_validation = [scoring.macro_f1(golds, one.validation, labels) for one in table.candidates]
    assert found.calls == 7200
    assert found.macro_f1 == replays.on_test(table)[int(np.argmax(on_validation))], "the best of all, asked everything"


def test_shares_of_less_than_one_evaluation_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.jsonl", MANY, GOLDS)
    found = replays.replay(table, seeds=1, methods=["random_search"])
    assert [row.budget for row in found.rows] == [128, 160, 320]
    with pytest.raises(DataError, match="one candidate"):
        replays.replay(replace(table, candidates=table.candidates[:1]))


def arms_of_rules(*, budget: int) -> tuple[Arms, np.ndarray]:
    """64 sets of 6 rules, of which rules 0 and 1 help on examples of their label and rule 2 harms."""
    rng = np.random.default_rng(0)
    golds, use = np.arange(120) % 2, (rng.random((64, 6)) < 0.5).astype(float)
    own = np.stack([golds == j % 2 for j in range(6)], axis=1).astype(float)
    chance = 0.4 + (use * [0.4, 0.4, -0.3, 0, 0, 0]) @ own.T
    right = rng.random((64, 120)) < chance
    answers = np.where(right, golds, 1 - golds)
    return Arms(answers, golds, 2, use, np.arange(6) % 2, budget), chance.mean(axis=1)


def test_the_pooled_model_knows_arms_that_were_never_asked() -> None:
    arms, truth = arms_of_rules(budget=700)
    for number in range(32):
        arms.ask(number, np.arange(number * 20, number * 20 + 20) % 120)
    found = best_arm.expected(arms)[32:]
    assert np.corrcoef(found, truth[32:])[0, 1] > 0.8
    assert np.abs(found - truth[32:]).mean() < 0.1


def test_pooling_finds_better_arms_for_the_same_calls() -> None:
    reached = {name: [] for name in ("random_search", "pooled_race")}
    for name, values in reached.items():
        for seed in range(10):
            arms, truth = arms_of_rules(budget=900)
            values.append(truth[best_arm.METHODS[name](arms, np.random.default_rng(seed))])
    assert np.mean(reached["pooled_race"]) > np.mean(reached["random_search"]) + 0.02


def test_arms_count_calls_and_show_only_what_was_asked() -> None:
    arms, _ = arms_of_rules(budget=130)
    assert arms.ask(3, np.arange(10))
    assert arms.ask(3, np.arange(20))
    assert arms.calls == 20
    assert not arms.ask(4)
    assert (arms.calls, arms.calls_left) == (20, 110)
    with pytest.raises(BudgetExceeded, match="Arm 3"):
        arms.right(3, np.arange(21))


def test_macro_f1_of_numbers_is_that_of_labels() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        golds, answers = rng.integers(4, size=30), rng.integers(5, size=30)
        expected = scoring.macro_f1([LABELS[g] for g in golds], [[*LABELS, None][a] for a in answers], LABELS)
        assert macro_f1(golds, answers, 4) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda lines: lines[:1], "has no candidate"),
        (lambda lines: [*lines, lines[-1]], "line 5: the candidate occurs twice"),
        (lambda lines: [lines[0], lines[1].replace('"validation":["a",', '"validation":[', 1)], "3 and 4 answers"),
        (lambda lines: [lines[0], "{}"], "line 2: digest"),
    ],
)
def test_a_spoilt_table_is_refused(tmp_path: Path, spoil, said) -> None:
    path = tmp_path / "table.jsonl"
    write_table(path, [("aaaa", "ab--"), ("abab", "abab"), ("ba-b", "aaaa")])
    path.write_text("\n".join(spoil(path.read_text().splitlines())) + "\n")
    with pytest.raises(DataError, match=said):
        Table.load(path)


# Commands and files


def test_a_table_of_something_else_is_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    header = write_table(path, [("aaaa", "ab--")]).header
    held = path.read_text()
    for other in ({"student": "another"}, {"rules": header.rules[:0]}, {"examples": "others"}):
        with pytest.raises(RunError, match="table of another student"):
            tables.extend(path, header.model_copy(update=other), [("guard", RuleSet())], lambda rules: ("abab", "abab"))
        assert path.read_text() == held


def test_the_command_replays_a_table(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    write_table(path, MANY, GOLDS)
    told = CliRunner().invoke(app, ["replay", str(path), "--seeds", "2", "--budget", "0.5"])
    assert told.exit_code == 0, told.output
    assert "8 candidates, 80 validation examples" in told.stdout
    assert "| pooled_race | 320 |" in told.stdout
