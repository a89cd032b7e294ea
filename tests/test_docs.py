"""The documentation says what the code does: its files, links, commands, options and error messages exist."""

import ast
import json
import re
from pathlib import Path

import pytest
import typer.main
from tasks import student_lm

import pld_dspy
from pld_dspy.cli.app import app
from pld_dspy.search.search_config import SearchConfig

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
README_LINES = 140
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(?:#[^)]*)?\)")
PLACEHOLDER = "…"


COMMANDS = dict(typer.main.get_command(app).commands)


def messages() -> str:
    """Every text of the library's code, with a placeholder for each part that is filled in."""
    found = []
    for path in sorted((ROOT / "pld_dspy").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else PLACEHOLDER for part in node.values)
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value.replace("%s", PLACEHOLDER))
    return "\n".join(found)


def test_the_readme_is_a_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= README_LINES
    assert text.index("make demo") < text.index("## ")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_option_is_documented(name: str) -> None:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert f"pld-dspy {name}" in text
    options = {option for given in COMMANDS[name].params for option in given.opts if option.startswith("--")}
    assert {option for option in options - {"--help"} if f"`{option}" not in text} == set()


def test_every_error_that_is_explained_can_be_raised() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    known = messages()
    assert {title for title in re.findall(r"^### (.+)$", text, re.MULTILINE) if title not in known} == set()


def test_python_in_the_documentation_compiles() -> None:
    for page in PAGES:
        for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            compile(code, page.name, "exec")


def test_the_notebook_was_executed_and_its_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = json.loads((ROOT / "docs" / "first-steps.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert not {"error", "stderr"} & {out.get("name", out["output_type"]) for cell in cells for out in cell["outputs"]}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pld_dspy, "local_lm", lambda: student_lm("travel"), raising=False)
    quick = SearchConfig(screen_calls=0, trials=0)
    monkeypatch.setattr(pld_dspy, "SearchConfig", lambda **settings: quick, raising=False)
    exec("\n".join("".join(cell["source"]) for cell in cells), {})
    assert (tmp_path / "runs" / "first-steps" / "result.json").exists()
    for link in LINK.findall("".join(line for cell in book["cells"] for line in cell["source"])):
        assert (ROOT / "docs" / link).exists(), link
