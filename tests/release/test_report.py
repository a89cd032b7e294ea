"""The report of a small synthetic run, whose texts are chosen to break careless HTML."""

import csv
import json
import re
import warnings
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from tasks import finished_trial

from pld_dspy.audit.labels import Suspect
from pld_dspy.calibrate.calibration import Abstention, Answered, Bin, Calibration, Grade, StudentCalibration
from pld_dspy.cli.printing import console, print_result
from pld_dspy.errors import RunError
from pld_dspy.ledger.budget import Cost
from pld_dspy.ledger.jsonl import write_jsonl
from pld_dspy.release.pages import EXAMPLES_SHOWN
from pld_dspy.release.plots import plot_labels, plot_learning_curve
from pld_dspy.release.report import write_report
from pld_dspy.rules import MicroRule, Rule, RuleSet
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.progress import write_trials
from pld_dspy.run.result import Comparison, PLDResult
from pld_dspy.scoring.baselines import Baseline, Baselines
from pld_dspy.scoring.difference import difference
from pld_dspy.scoring.offsets import Offsets
from pld_dspy.scoring.score import Score, score
from pld_dspy.search.search_result import Insight, OrderSpread, OriginValue
from pld_dspy.search.space import Space

LABELS = ("entailment", "contradiction <b>&", "cost $5 to $9")
EVIL = "<script>alert('x')</script>"


def comparison(n: int, seed: int) -> Comparison:
    rng = np.random.default_rng(seed)
    golds = [LABELS[i] for i in rng.integers(3, size=n)]
    before = [gold if rng.random() < 0.5 else (LABELS[0] if rng.random() < 0.8 else None) for gold in golds]
    after = [gold if rng.random() < 0.85 else LABELS[rng.integers(3)] for gold in golds]
    return Comparison(
        baseline=score(golds, before, LABELS),
        compiled=score(golds, after, LABELS),
        difference=difference(golds, before, after, LABELS),
    )


def rule(number: int, *, support: int) -> Rule:
    return Rule(
        id=f"r{number}",
        wordings=(f"Rule {number}: if the text says {EVIL}, it is so.", f"Second wording of {number}."),
        labels=(LABELS[number % 3],),
        reason=f"Reason {number}: {EVIL}",
        pin=number == 1,
        ban=number == 12,
        support=tuple(f"ex{i}" for i in range(support)),
    )


def make_result(*, test: bool = True, rules: int = 4) -> PLDResult:
    chosen = RuleSet(rules=tuple(rule(number, support=3 + 20 * number) for number in range(rules)))
    return PLDResult(
        labels=LABELS,
        predictor="classify.predict",
        label_field="label",
        untouched=("summarize",),
        improved=rules > 0,
        rules=chosen,
        bench=[rule(number, support=2) for number in range(10, 13)],
        instructions=chosen.instruct(f"Judge the pair. {EVIL}"),
        validation=comparison(96, 1),
        test=comparison(144, 2) if test else None,
        costs={
            "student": {"search": Cost(calls=3150, reused=12345, tokens_in=1_234_567, tokens_out=9000)},
            "teacher": {"explain": Cost(calls=60, tokens_in=40000, tokens_out=9000, call_seconds=120.5, money=0.12)},
        },
        seconds={"explain": 130.2, "induce": 3.0, "search": 900.4, "search_own_code": 12.5, "test": 40.0},
        rule_tokens=412.4,
        counts={"micro_rules": 60, "rules": 7, "trials": 30, "train": 60, "val": 96, "test": 144},
        stopped=None,
        notes=[f"A note with {EVIL}."],
        seed=0,
        versions={"python": "3.11.7", "dspy": "3.4.1"},
    )


def grade(score: Score, error: float) -> Grade:
    bins = (Bin(confidence=0.6, accuracy=0.5, n=44), Bin(confidence=0.9, accuracy=0.8, n=100))
    curve = {"coverage": (0.5, 1.0), "risk": (0.1, 0.2)}
    return Grade(score=score, calibration_error=error, error_at_80=0.125, reliability=bins, **curve)


def calibration(test: Comparison | None) -> Calibration:
    """What moved the compiled student by its offsets, and left the unchanged student as it was."""
    moved = Offsets(labels=LABELS, values=(0.0, 1.25, -0.5), temperature=1.5, gain=comparison(96, 3).difference)
    if test is None:
        side = StudentCalibration(offsets=moved)
        return Calibration(baseline=side, compiled=side, n=156)
    plain = grade(test.baseline, 0.3456)
    return Calibration(
        baseline=StudentCalibration(offsets=Offsets.none(LABELS), plain=plain, calibrated=plain),
        compiled=StudentCalibration(
            offsets=moved, plain=grade(test.compiled, 0.2345), calibrated=grade(test.compiled, 0.0456)
        ),
        n=156,
        difference=test.difference,
        difference_to_baseline=test.difference,
    )


def write_run(folder: Path, result: PLDResult) -> None:
    run = RunFolder(folder)
    run.open({"seed": 0, "note": EVIL}, resume=True)
    result.save(folder)
    write_jsonl(
        run.micro_rules,
        (
            MicroRule(
                example_id=f"ex{i}",
                inputs={"text": f"Text {i} {EVIL} " + "long " * 400},
                label=LABELS[i % 3],
                rationale=f"[doubtful label] Since {i}." if i == 0 else f"Since {i} & {EVIL}.",
                rule=f"Micro-rule {i}.",
            )
            for i in range(60)
        ),
    )
    rng = np.random.default_rng(0)
    values = [0.49, 0.71, *(0.5 + 0.35 * rng.random(28))]
    write_trials(
        run.trials,
        [
            finished_trial(
                Space(()).none(),
                np.arange(96),
                np.arange(96) < 50,
                step=step,
                kind="race",
                rules=result.rules,
                objective=float(value) if step < 2 or step % 4 == 0 else None,
                value=float(value),
            )
            for step, value in enumerate(values)
        ],
    )


class Page(HTMLParser):
    """What a browser would see: tags, ids, text, and whether every element is closed."""

    VOID = ("meta", "path", "use", "rect", "line", "br")

    def __init__(self, page: Path | str) -> None:
        super().__init__()
        self.html = page if isinstance(page, str) else page.read_text(encoding="utf-8")
        self.tags: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.attributes: set[str] = set()
        self.chunks: list[str] = []
        self.feed(self.html)
        self.text = re.sub(r"\s+", " ", "".join(self.chunks))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.chunks.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("runs") / "demo-run"
    write_run(folder, make_result())
    path = write_report(folder)
    assert path == folder / "report.html"
    return Page(path)


def test_notebooks_show_result_and_rules_and_run_nothing() -> None:
    result = make_result()
    for shown, said in ((result, f"{result.test.compiled.macro_f1:.3f}"), (result.rules, "(r0: ")):
        seen = Page(shown._repr_html_())
        assert said in seen.text
        assert seen.text.count(EVIL) >= len(result.rules)
        assert "script" not in seen.tags
        assert seen.open == []


def test_headline_is_the_test_split(page: Page) -> None:
    test = make_result().test
    assert test is not None
    for figure in (test.baseline.macro_f1, test.compiled.macro_f1, *test.compiled.interval):
        assert f"{figure:.3f}" in page.text
    assert f"{test.difference.macro_f1:+.3f}" in page.text
    assert "p < 0.001" in page.text
    assert "144 test examples, which no stage learned or chose from" in page.text
    assert "Chosen on this data" not in page.text


def test_all_rules_are_there_in_order_with_their_support(page: Page) -> None:
    chosen = page.html.index('class="rules"'), page.html.index('class="bench"')
    places = [page.html.index(f"Rule {number}: if") for number in range(4)]
    assert places == sorted(places)
    assert chosen[0] < places[0]
    assert places[-1] < chosen[1] < page.html.index("Rule 10: if")
    assert "Second wording of 12." in page.text
    assert "effect" not in page.text
    assert f"Why: Reason 3: {EVIL}" in page.text
    assert (page.text.count("pinned"), page.text.count("banned")) == (1, 1)
    assert "Since 1 &" in page.text
    assert "label in doubt" in page.text
    last = page.text[page.text.index("Rule 3: if") : page.text.index("The bench:")]
    assert last.count("Micro-rule ") == EXAMPLES_SHOWN
    assert all(f"ex{i}" in last for i in range(63))


def test_text_from_data_is_escaped(page: Page) -> None:
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert EVIL in page.text
    assert "cost $5 to $9" in page.text


PLANT = "\"'></text></svg><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7*7 }}<!--"


def planted(value: object) -> object:
    """Put the plant behind every text, and behind the label that is a key."""
    if isinstance(value, dict):
        return {f"{key}{PLANT}" if key in LABELS else key: planted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [planted(inner) for inner in value]
    return f"{value}{PLANT}" if isinstance(value, str) and value != "(none)" else value


def test_html_in_any_text_of_a_run_is_inert(page: Page, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    write_run(run.path, make_result())
    for path in (run.result, run.micro_rules):
        lines = [path.read_text()] if path == run.result else path.read_text().splitlines()
        path.write_text("\n".join(json.dumps(planted(json.loads(line))) for line in lines))
    run.config.write_text(f"fingerprint: {PLANT}")
    rows = list(csv.reader(run.trials.open(newline="")))
    with run.trials.open("w", newline="") as file:
        csv.writer(file).writerows(
            [rows[0], *([row[0], *(f"{cell}{PLANT}" for cell in row[1:3]), *row[3:]] for row in rows[1:])]
        )
    shown = Page(write_report(run.path))
    assert set(shown.tags) == set(page.tags)
    assert shown.tags.count("svg") == page.tags.count("svg")
    assert not [name for name in shown.attributes if name.startswith("on")]
    assert shown.attributes == page.attributes
    assert shown.text.count("alert(1)") > 100
    assert "{{ 7*7 }}" in shown.text


def test_a_label_of_another_script_is_drawn_as_text_without_a_warning() -> None:
    labels = ("\u98df\u7269", "sport")
    found = score(["sport", labels[0]], ["sport", None], labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = plot_labels([("unchanged", found), ("compiled", found)], labels)
    assert labels[0] in drawn


def test_the_file_is_sound_and_needs_nothing_else(page: Page) -> None:
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert set(re.findall(r"https?://[^\s\"'<]+", page.html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert not {"link", "img", "iframe", "script"} & set(page.tags)
    assert page.html.count('<svg role="img" aria-label="') == 2 == page.tags.count("svg")


def test_costs_counts_and_settings(page: Page) -> None:
    for text in ("1,234,567", "12,345", "0.1200", "900.4", "micro rules", "412 prompt tokens", "fingerprint:"):
        assert text in page.text


def test_the_searchs_own_code_is_shown_as_a_part_of_it(page: Page) -> None:
    assert "search900.4 of which own code12.5 test40.0" in page.text
    assert "search_own_code" not in page.text


def test_the_summary_shows_it_so_too(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(console(), make_result())
    stages = [line.split("  ")[0].strip() for line in capsys.readouterr().out.splitlines() if line.startswith(" ")]
    place = stages.index("search")
    assert stages[place : place + 3] == ["search", "of which own code", "test"]
    assert "search_own_code" not in stages


def test_without_a_test_set_the_report_says_so(tmp_path: Path) -> None:
    write_run(tmp_path / "run", make_result(test=False))
    text = Page(write_report(tmp_path / "run")).text
    assert "Chosen on this data" in text
    assert "96 validation examples" in text
    assert "test examples" not in text


def test_only_the_result_is_needed(tmp_path: Path) -> None:
    result = make_result(rules=0).model_copy(update={"rule_tokens": None, "bench": [], "costs": {}, "notes": []})
    result.save(tmp_path)
    page = Page(write_report(tmp_path))
    assert "No rules beat the unchanged student" in page.text
    assert "The student has no rules." in page.text
    assert page.tags.count("svg") == 1


def test_rules_without_recorded_examples_name_them(tmp_path: Path) -> None:
    make_result().save(tmp_path)
    assert "By id: ex0 ex1 ex2" in Page(write_report(tmp_path)).text


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has not finished"):
        write_report(tmp_path)


def test_damaged_trials_are_named(tmp_path: Path) -> None:
    write_run(tmp_path, make_result())
    (tmp_path / "trials.csv").write_text("step,kind,objective,told,best\n0,race,,0.5,0.5\n1,race,,much,0.5\n")
    with pytest.raises(RunError, match=r"trials\.csv line 3 .*much"):
        write_report(tmp_path)


def test_doubted_labels_and_origins_of_wordings_are_listed(tmp_path: Path, page: Page) -> None:
    assert "Labels in doubt" not in page.text
    assert "wording: " not in page.text
    result = make_result()
    worded = RuleSet(rules=tuple(one.model_copy(update={"origins": ("teacher", "cues")}) for one in result.rules.rules))
    insight = Insight(
        order=OrderSpread(own=0.8, mean=0.7, sd=0.1),
        ladder=[],
        gain_of_1000_calls=0.01,
        origins=[
            OriginValue(origin="teacher", rules=4, asked=3, expected=0.7654, interval=(0.7111, 0.8222)),
            OriginValue(origin="teacher draw 2", rules=4, asked=4, expected=0.7, interval=(0.6, 0.8)),
        ],
    )
    doubted = [
        Suspect("ex<i>7", LABELS[1], LABELS[2], 1.0, f"the teacher says {EVIL}"),
        Suspect("e8", "x", None, 0.5, ""),
    ]
    write_run(tmp_path, result.model_copy(update={"suspects": doubted, "rules": worded, "insight": insight}))
    shown = Page(write_report(tmp_path))
    assert shown.open == []
    assert "script" not in shown.tags
    assert "i" not in shown.tags
    listed = shown.text[shown.text.index("Labels in doubt") : shown.text.index("Precision, recall")]
    for text in ("2 training examples", "ex<i>7", LABELS[1], LABELS[2], f"the teacher says {EVIL}"):
        assert text in listed
    for text in (
        "wording: teacher",
        "Second wording of 0. (cues)",
        "0.765",
        "[0.711, 0.822]",
    ):
        assert text in shown.text


def test_calibration_stands_beside_the_uncalibrated_result(tmp_path: Path, page: Page) -> None:
    assert "alibrat" not in page.text
    result = make_result()
    found = calibration(result.test)
    better = found.model_copy(update={"difference_to_baseline": result.validation.difference})
    write_run(tmp_path, result.model_copy(update={"calibration": better}))
    shown = Page(write_report(tmp_path))
    assert shown.open == []
    assert "script" not in shown.tags
    headline = shown.text[: shown.text.index("Macro-F1 over")]
    score = found.compiled.calibrated.score
    assert f"Compiled and calibrated{score.macro_f1:.3f}" in re.sub(r" \[| (?=\d)", "", headline)
    assert f"Difference with calibration{result.validation.difference.macro_f1:+.3f}" in headline.replace(" +", "+")
    table = shown.text[
        shown.text.index("On test, with and without calibration") : shown.text.index("The compiled student gains")
    ]
    assert table.count(" 144 ") == 4, "examples of either student, with calibration and without"
    for figure in ("+1.25", "-0.50", "1.50", "0.346", "0.234", "0.046", "0.125", "156 training and validation"):
        assert figure in shown.text
    assert "Error rate among the most confident answers" in shown.html
    assert "compiled, calibrated: calibration error 0.046" in shown.html
    assert shown.tags.count("svg") == 4
    assert len(shown.ids) == len(set(shown.ids))


@pytest.mark.parametrize("threshold", [0.8125, None])
def test_a_threshold_stands_with_what_is_answered(tmp_path: Path, page: Page, threshold: float | None) -> None:
    assert "among the answers given" not in page.text
    kept = Answered(n=96, n_wrong=24, answered=64, wrong=2, coverage=64 / 96, error_rate=2 / 64)
    none = Answered(n=144, n_wrong=36, answered=0, wrong=0, coverage=0.0, error_rate=None)
    wanted = Abstention(error_rate=0.05, delta=0.05, n=151, threshold=threshold, validation=kept, test=none)
    result = make_result()
    found = calibration(result.test)
    sides = {name: getattr(found, name).model_copy(update={"abstention": wanted}) for name in ("baseline", "compiled")}
    write_run(tmp_path, result.model_copy(update={"calibration": found.model_copy(update=sides)}))
    shown = Page(write_report(tmp_path))
    assert shown.open == []
    for figure in ("error rate of 0.05", "64 of 96", "0.667", "0.031", "0.250", "0 of 144", "confidences of 151"):
        assert figure in shown.text
    assert ("0.812" in shown.text) is (threshold is not None)
    assert ("it answers everything" in shown.text) is (threshold is None)
    assert "wanted error rate 0.05" in shown.html


def test_calibration_without_a_test_set_shows_its_offsets(tmp_path: Path) -> None:
    result = make_result(test=False)
    write_run(tmp_path, result.model_copy(update={"calibration": calibration(None)}))
    shown = Page(write_report(tmp_path))
    assert "+1.25" in shown.text
    assert "No test set measured its effect" in shown.text
    assert "Compiled and calibrated" not in shown.text
    assert "Error rate among the most confident answers" not in shown.html


def test_what_the_labels_alone_give_stands_beside_the_student(tmp_path: Path, page: Page) -> None:
    assert "labels alone" not in page.text
    result = make_result()
    assert result.test is not None
    shown = result.test
    row = Baseline(name="classifier", score=shown.baseline, difference=shown.difference)
    curve = ((20, 0.1234), (40, 0.2), (156, shown.baseline.macro_f1))
    found = Baselines(split="test", labels=156, embedder=EVIL, rows=(row,), curve=curve, student=shown.compiled)
    write_run(tmp_path, result.model_copy(update={"baselines": found}))
    told = Page(write_report(tmp_path))
    assert told.open == []
    assert "script" not in told.tags
    assert EVIL in told.text
    section = told.text[told.text.index("What the labels alone give") : told.text.index("rules, in the order")]
    for figure in (f"{shown.difference.macro_f1:+.3f}", f"{shown.compiled.macro_f1:.3f}", "156 labelled", "p < 0.001"):
        assert figure in section
    assert "behind the student's" in section
    assert "20 labels: 0.123; 40 labels: 0.200" in told.html
    assert told.tags.count("svg") == 3
    assert len(told.ids) == len(set(told.ids))


def test_baselines_without_a_student_are_drawn_without_its_line() -> None:
    found = score(["a", "b"], ["a", "a"], ("a", "b"))
    alone = Baselines(
        split="test", labels=2, embedder="own", rows=(Baseline(name="classifier", score=found),), curve=((2, 0.3),)
    )
    assert ">student<" not in plot_learning_curve(alone)
    assert ">student<" in plot_learning_curve(alone.model_copy(update={"student": found}))
