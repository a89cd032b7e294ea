"""How the files hang together: imports run one way, and the wheel ships the library alone."""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("pld_dspy", "programs", "optimizers", "experiments")
MAY_IMPORT = {
    "pld_dspy": set(),
    "programs": {"pld_dspy"},
    "optimizers": {"pld_dspy"},
    "experiments": {"pld_dspy", "programs", "optimizers"},
}
STAGES = {"explain", "induce", "search", "resolve"}
ON_TOP = {"cli", "cli_models", "plots", "report", "summary", "terminal"}
"""Parts of the command line, imported by each other and by __main__ only."""

MAY_PRINT = {"cli", "cli_models", "summary", "terminal"}
LIBRARY = sorted((ROOT / "pld_dspy").rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, lazy: bool = True) -> Iterator[str]:
    """The full names of the modules that a file imports; of ``from a import b`` both a and a.b."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = module_name(path).split(".") if path.name == "__init__.py" else module_name(path).split(".")[:-1]
    for node in ast.walk(tree) if lazy else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield from (origin, *(f"{origin}.{alias.name}" for alias in node.names))


def part(module: str) -> str:
    """The file or folder of the library that a module belongs to: ``pld_dspy.search.study`` is part of ``search``."""
    return module.partition(".")[2].partition(".")[0]


def test_the_reader_of_imports_sees_all_forms(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "pld_dspy" / "sub").mkdir(parents=True)
    path = tmp_path / "pld_dspy" / "sub" / "file.py"
    path.write_text(
        "import os.path\nfrom ..rules import Rule\nfrom . import other\ndef f():\n    from ...programs import x\n"
    )
    expected = ["os.path", "pld_dspy.rules", "pld_dspy.rules.Rule", "pld_dspy.sub", "pld_dspy.sub.other"]
    assert list(imports(path, lazy=False)) == expected
    assert list(imports(path)) == [*expected, "programs", "programs.x"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_import_only_what_stands_below_them(folder):
    for path in (ROOT / folder).rglob("*.py"):
        found = {name.split(".")[0] for name in imports(path)}
        wrong = found & {*FOLDERS, "tests"} - MAY_IMPORT[folder] - {folder}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_a_stage_imports_no_other_stage():
    for path in LIBRARY:
        if (own := part(module_name(path))) in STAGES:
            found = {part(name) for name in imports(path) if name.startswith("pld_dspy.")}
            assert found & STAGES <= {own}, path.name


def test_nothing_imports_what_is_on_top():
    for path in LIBRARY:
        if part(module_name(path)) not in ON_TOP | {"__main__"}:
            assert not {part(name) for name in imports(path) if name.startswith("pld_dspy.")} & ON_TOP, path.name


def test_the_library_has_no_circle_of_imports():
    modules = {module_name(path): path for path in LIBRARY}
    graph = {
        name: {other for other in imports(path, lazy=False) if other in modules and not name.startswith(other)}
        for name, path in modules.items()
    }
    TopologicalSorter(graph).prepare()


def test_the_library_prints_nothing():
    for path in LIBRARY:
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        names = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        assert "print" not in names or part(module_name(path)) in MAY_PRINT, path.name


def test_no_file_outgrows_one_idea():
    sizes = {module_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in LIBRARY}
    assert {name: size for name, size in sizes.items() if size > 350} == {}


def test_the_wheel_ships_the_library_alone():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["pld_dspy"]}
    assert project["project"]["scripts"] == {"pld-dspy": "pld_dspy.cli:main"}


@pytest.mark.parametrize("name", ["py.typed", "report.html.j2", "demo/records.jsonl", "demo/rationales.jsonl"])
def test_data_files_lie_within_the_package_and_are_not_ignored(name):
    assert (ROOT / "pld_dspy" / name).is_file()
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert not any(fnmatch(f"pld_dspy/{name}", pattern) or fnmatch(Path(name).name, pattern) for pattern in ignored)
