"""pld-dspy sign: a signature holds until anything that it covers changes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import refused, run
from tasks import rule

from pld_dspy.errors import RunError
from pld_dspy.release import report
from pld_dspy.release.edits import read_edits, write_edits
from pld_dspy.release.signature import read_signature, require_signature
from pld_dspy.release.trail import ACCEPTED, append
from pld_dspy.run.folder import RunFolder

RUN = Path("run")


@pytest.fixture
def signed(done: Path) -> Path:
    result = run("sign", "run", "--by", "Ann", "--comment", "Read in full.")
    assert result.exit_code == 0, result.output
    return done


def replace(name: str, old: str, new: str) -> Callable[[], object]:
    """Return what replaces a text in a file of the run."""
    path = RUN / name
    return lambda: path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def faults() -> str:
    """Why the signature does not hold; evaluate, too, fails closed for these reasons."""
    result = run("sign", "run", "--check")
    assert result.exit_code == 1
    with pytest.raises(RunError) as caught:
        require_signature(RUN)
    assert str(caught.value).split() == result.stdout.split()
    assert str(caught.value) in refused(run("evaluate", "run", "--require-signature", "--json"))
    return result.stdout


def test_a_signature_records_who_signed_what(signed: Path) -> None:
    found = read_signature(RUN)
    assert found is not None
    assert (found.by, found.comment, found.accepted) == ("Ann", "Read in full.", {})
    assert found.files.keys() == {"rules.yaml", "program.json", "result.json"}
    assert found.data.keys() == {"train", "validation", "test", "rationales"}
    assert found.model["spec"] == "openai/none"

    assert "Signed by Ann" in run("sign", "run", "--check").stdout
    require_signature(RUN)
    assert json.loads(run("evaluate", "run", "--require-signature", "--json").stdout)["accuracy"] == 1.0


def test_a_signature_says_which_rules_somebody_accepted(done: Path) -> None:
    unread = run("sign", "run", "--by", "Ann").stdout
    assert (
        "Accepted on the review page: 0 of 1 rules.\nWarning: accepted by nobody as they are now, and signed" in unread
    )
    assert "MLflow" not in unread, "the compile was not tracked"
    [rule] = read_edits(RUN)[0].rules
    append(RUN, ACCEPTED, by="Zoë", rule=rule.id, text="Another text")
    reworded = run("sign", "run", "--by", "Ann").stdout
    assert f"Of these, accepted in other words before: {rule.id}." in reworded
    assert "in other words" not in unread
    append(RUN, ACCEPTED, by="Bob", rule=rule.id, text=rule.text)

    assert "Accepted on the review page: 1 of 1 rules, 1 by Bob.\n" in run("sign", "run", "--by", "Ann").stdout
    found = read_signature(RUN)
    assert found is not None
    assert found.accepted == {"sport-1": "Bob"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (replace("rules.yaml", "goal", "score"), "The file rules.yaml has changed since Ann signed on 20"),
        (replace("program.json", "goal", "score"), "The file program.json has changed"),
        (replace("result.json", "goal", "score"), "The file result.json has changed"),
        (lambda: (RUN / "program.json").unlink(), "The file program.json is missing"),
        (lambda: (RUN / "calibration.json").write_text("{}"), "The file calibration.json is new"),
        (replace("config.yaml", "test: ", "test: 0"), "The fingerprint of the data test has changed"),
        (replace("config.yaml", "spec: openai/none", "spec: openai/other"), "The model's setting spec has changed"),
        (replace("audit.jsonl", "compiled", "exported"), "audit.jsonl: line 2 does not follow from the line before"),
        (lambda: (RUN / "audit.jsonl").unlink(), "audit.jsonl: the last line at the time of signing is gone"),
        (lambda: (RUN / "signature.json").unlink(), "run is not signed. Read its rules and sign it"),
    ],
)
def test_what_changed_since_is_named_and_fails_closed(signed: Path, change: Callable[[], object], reason: str) -> None:
    change()
    assert reason in faults()


def test_a_damaged_signature_is_no_signature(signed: Path) -> None:
    (RUN / "signature.json").write_text("{}", encoding="utf-8")
    for command in (("sign", "run", "--check"), ("evaluate", "run", "--require-signature")):
        assert "signature.json is damaged" in refused(run(*command))


def test_edits_that_were_not_rechecked_are_not_signed(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "write_report", lambda folder: folder)  # it takes seconds
    rules, bench = read_edits(RUN)
    write_edits(RUN, rules.with_rules([]), [*bench, *rules.rules])
    message = refused(run("sign", "run", "--by", "Ann"))
    assert "has edits that were not rechecked (sport-1). Run pld-dspy recheck run first" in message

    assert run("recheck", "run").exit_code == 0
    assert run("sign", "run", "--by", "Ann").exit_code == 0


def test_rules_that_harm_are_signed_with_a_warning_and_edits_are_told_of(done: Path, monkeypatch) -> None:
    monkeypatch.setattr(report, "write_report", lambda folder: folder)  # it takes seconds
    rules, bench = read_edits(RUN)
    harmful = rule("harm", "soup", "sport")
    write_edits(RUN, rules.with_rules([harmful]), [*bench, *rules.rules])
    for command in (("rules", "run"), ("evaluate", "run")):
        assert "has edits that were not rechecked (harm, sport-1); this is without them" in run(*command).stderr

    assert run("recheck", "run").exit_code == 0
    assert (
        "Warning: signed although the unchanged student is better on validation"
        in run("sign", "run", "--by", "Ann").stdout
    )
    shown = run("rules", "run")
    assert shown.stdout.startswith("These rules do not beat the unchanged student on validation.")
    assert shown.stderr == ""


def test_a_program_that_does_not_follow_the_rules_is_not_signed(done: Path) -> None:
    replace("program.json", "goal", "score")()
    assert "program.json does not follow the rules" in refused(run("sign", "run", "--by", "Ann"))
    (RUN / "program.json").unlink()
    assert "Cannot load run/program.json" in refused(run("sign", "run", "--by", "Ann"))


def test_a_signature_needs_a_name(done: Path) -> None:
    assert "Give it with --by NAME" in refused(run("sign", "run"))


def test_a_fresh_compile_is_not_signed(signed: Path) -> None:
    RunFolder(RUN).open({"another": "compile"}, resume=False)
    assert not (RUN / "signature.json").exists()
