"""rules.yaml as people edit it: what is read, what is refused, and what is said of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_report import make_result, write_run

from pld_dspy.errors import DataError, RunError
from pld_dspy.release.edits import Change, changes, listed, parse_edits, read_edits, unchecked, write_edits
from pld_dspy.release.version import edited_result
from pld_dspy.rules import read_yaml, write_yaml
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.result import PLDResult
from pld_dspy.search.search_result import Insight, OrderSpread

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def result() -> PLDResult:
    """Four rules r0 to r3, and r10 to r12 on the bench; r1 uses its second wording."""
    made = make_result()
    short = [rule.model_copy(update={"support": (), "chosen": int(rule.id == "r1")}) for rule in made.rules.rules]
    return made.model_copy(update={"rules": made.rules.with_rules(short)})


def edited(result: PLDResult, edit: Edit) -> str:
    document = read_yaml(result.rules.to_yaml(result.bench))
    edit(document)
    return write_yaml(document)


def said(result: PLDResult, edit: Edit) -> dict[str, Change]:
    found = changes(listed(result), parse_edits(edited(result, edit), result))
    return {change.rule_id: change for change in found}


@pytest.mark.parametrize(
    ("edit", "stays"),
    [
        (lambda d: d["rules"][0].update(comment="Why?"), True),
        (lambda d: d["bench"][0].update(ban=True), False),
        (lambda d: d["rules"].pop(1), False),
    ],
)
def test_shorter_lists_of_the_search_do_not_outlive_what_people_decide(
    result: PLDResult, edit: Edit, stays: bool
) -> None:
    insight = Insight(order=OrderSpread(own=0.5, mean=0.5, sd=0.0), ladder=[], gain_of_1000_calls=0.0)
    result = result.model_copy(update={"insight": insight})
    after = parse_edits(edited(result, edit), result)
    assert (edited_result(result, after, changes(listed(result), after)).insight is not None) == stays


def test_a_list_that_nobody_edited_has_no_changes(result: PLDResult) -> None:
    assert said(result, lambda document: None) == {}


@pytest.mark.parametrize(
    ("edit", "rule", "what", "reads"),
    [
        (lambda d: d["rules"][0].update(text="New."), "r0", "reworded, its reason stays as it was", True),
        (lambda d: d["rules"][0].update(text="New.", reason=""), "r0", "reworded, reason changed", True),
        (lambda d: d["bench"][0].update(text="New."), "r10", "reworded, its reason stays as it was", False),
        (lambda d: d["rules"].insert(0, d["rules"].pop(2)), "r2", "moved from place 3 to 1", True),
        (lambda d: d["rules"].pop(1), "r1", "removed", True),
        (lambda d: d["bench"].pop(1), "r11", "removed from the bench", False),
        (lambda d: d["bench"].append(d["rules"].pop(3)), "r3", "moved to the bench", True),
        (lambda d: d["rules"].append(d["bench"].pop(0)), "r10", "taken from the bench as rule 5", True),
        (lambda d: d["rules"].append({"id": "mine", "text": "New."}), "mine", "added as rule 5", True),
        (lambda d: d["rules"].append({"text": "New."}), "user-rule-1", "added as rule 5", True),
        (lambda d: d["bench"].append({"id": "mine", "text": "New."}), "mine", "added to the bench", False),
        (lambda d: d["rules"][0].update(pin=True), "r0", "pin changed", False),
        (lambda d: d["bench"][0].update(ban=True), "r10", "ban changed", False),
        (lambda d: d["rules"][0].update(comment="Why?"), "r0", "comment changed", False),
        (lambda d: d["rules"][0].update(reason="Since."), "r0", "reason changed", False),
        (lambda d: d["rules"][0].update(other_wordings=["Another."]), "r0", "other wordings changed", False),
        (lambda d: d["bench"].reverse(), "bench", "order or origins changed", False),
    ],
)
def test_every_edit_is_named(result: PLDResult, edit: Edit, rule: str, what: str, *, reads: bool) -> None:
    found = said(result, edit)
    assert found.keys() == {rule}
    assert (", ".join(found[rule].what), found[rule].reads) == (what, reads)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.pop("rules"), "needs a list 'rules'"),
        (lambda d: d.update(rule=[]), "needs a list 'rules', may have the lists 'demos' and 'bench', and nothing else"),
        (lambda d: d.update(bench="r1"), "'bench' must be a list"),
        (lambda d: d["rules"].append("Say it."), "rules 5 is no rule"),
        (lambda d: d["rules"][1].pop("text"), "rules 2 (r1) has no text"),
        (lambda d: d["rules"][1].update(text=" "), "rules 2 (r1) has no text"),
        (lambda d: d["rules"][1].update(text=5), "rules 2 (r1) has no text"),
        (lambda d: d["bench"][0].update(id=5), "bench 1 (5) has no id"),
        (lambda d: d["bench"][0].update(id="r1"), "several rules have the same id: r1"),
        (lambda d: d["rules"][0].update(coment="x"), "rules 1 (r0) has the unknown field 'coment'"),
        (lambda d: d["rules"][0].update(labels="entailment"), "rules 1 (r0) has labels that is no list"),
        (lambda d: d["rules"][0].update(other_wordings="x"), "has other_wordings that is no list"),
        (lambda d: d["rules"][0].update(labels=["yes"]), "has the label 'yes', which is not in the label set"),
        (lambda d: d["rules"][0].update(ban=True), "rules 1 (r0) is banned and stands among the rules"),
        (lambda d: d["bench"][0].update(pin=True), "bench 1 (r10) is pinned and stands on the bench"),
        (lambda d: d["rules"][0].update(pin="perhaps"), "valid boolean"),
    ],
)
def test_every_fault_is_one_error_that_says_where(result: PLDResult, edit: Edit, message: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_edits(edited(result, edit), result, source="run/rules.yaml")
    assert message in str(caught.value)
    assert str(caught.value).startswith("run/rules.yaml")


def test_all_rules_may_go(result: PLDResult) -> None:
    rules, bench = parse_edits("rules:\nbench:\n", result)
    assert (len(rules), bench) == (0, ())


def test_a_wording_by_people_says_so_and_stays_so(result: PLDResult) -> None:
    rules, bench = parse_edits(edited(result, lambda d: d["rules"][0].update(text="Mine.")), result)
    assert rules.rules[0].origins == ("people", "unknown")

    later = result.model_copy(update={"rules": rules, "bench": [*bench]})
    assert said(later, lambda document: None) == {}


def test_what_is_written_is_checked_first(tmp_path: Path, result: PLDResult) -> None:
    write_run(tmp_path, result)
    rules = result.rules.rules
    write_edits(tmp_path, result.rules.with_rules(rules[:3]), result.bench)
    assert [change.rule_id for change in unchecked(tmp_path)] == ["r3"]

    wrong = rules[0].model_copy(update={"labels": ("yes",)})
    with pytest.raises(DataError, match="label 'yes'"):
        write_edits(tmp_path, result.rules.with_rules([wrong]), ())
    assert len(read_edits(tmp_path)[0]) == 3


def test_a_file_that_is_lost_or_unreadable_is_said_to_be(tmp_path: Path, result: PLDResult) -> None:
    write_run(tmp_path, result)
    path = RunFolder(tmp_path).rules
    path.unlink(missing_ok=True)
    with pytest.raises(RunError, match=r"Cannot read .*rules\.yaml"):
        read_edits(tmp_path)
    path.write_text("rules: [", encoding="utf-8")
    with pytest.raises(DataError, match=r"rules\.yaml: it is no plain YAML"):
        read_edits(tmp_path)
