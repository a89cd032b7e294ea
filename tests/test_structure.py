"""How the files hang together: imports run one way, and the wheel ships the library alone."""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("pld_dspy", "programs", "optimizers", "experiments")
MAY_IMPORT = {
    "pld_dspy": set(),
    "programs": {"pld_dspy"},
    "optimizers": {"pld_dspy"},
    "experiments": {"pld_dspy", "programs", "optimizers"},
}
ROOMS = (
    ("__main__",),
    ("cli",),
    ("pld", "release", "demo"),
    ("compile",),
    ("run",),
    ("explain", "audit", "induce", "search", "resolve", "calibrate"),
    ("teacher",),
    ("student",),
    ("scoring",),
    ("task",),
    ("ledger",),
    ("local",),
    ("rules",),
    ("errors",),
)
"""The library's rooms from the roof down. A room imports from later lines only; those on one line are apart."""

MOST_LEVELS, MOST_LINES, MEDIAN_LINES, MOST_ENTRIES, MOST_OF_A_FUNCTION = 12, 350, 130, 20, 60
MAY_PRINT = {"cli"}
LIBRARY = sorted((ROOT / "pld_dspy").rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, lazy: bool = True) -> Iterator[str]:
    """The full names of the modules that a file imports; of ``from a import b`` both a and a.b."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = module_name(path).split(".") if path.name == "__init__.py" else module_name(path).split(".")[:-1]
    at_runtime = [part for part in tree.body if not _for_type_checkers(part)]
    for node in (node for part in at_runtime for node in ast.walk(part)) if lazy else at_runtime:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield from (origin, *(f"{origin}.{alias.name}" for alias in node.names))


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


def _for_type_checkers(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def room(module: str) -> str:
    """The file or folder of the library that a module belongs to: ``pld_dspy.search.study`` is in ``search``."""
    return module.partition(".")[2].partition(".")[0]


def test_rooms_import_only_rooms_below_them():
    line_of = {name: number for number, line in enumerate(ROOMS) for name in line}
    for path in LIBRARY:
        own = room(module_name(path))
        found = {room(name) for name in imports(path) if name.startswith("pld_dspy.")} & set(line_of) - {own}
        if own:  # the package itself gives out the public names
            assert all(line_of[name] > line_of[own] for name in found), f"{module_name(path)} imports {found}"


def test_every_room_has_its_place():
    entries = {room(module_name(path)) for path in LIBRARY} - {"", "__main__"}
    assert entries == {name for line in ROOMS for name in line} - {"__main__"}
    assert len(entries) <= MOST_ENTRIES


def import_graph() -> dict[str, set[str]]:
    """Module -> the modules of the library that it imports, anywhere but for type checkers."""
    modules = {module_name(path): path for path in LIBRARY if module_name(path) != "pld_dspy"}
    return {name: {other for other in imports(path) if other in modules} - {name} for name, path in modules.items()}


def test_a_reader_climbs_few_levels_of_imports():
    graph = import_graph()
    level: dict[str, int] = {}
    for name in TopologicalSorter(graph).static_order():  # raises where imports go in a circle
        level[name] = 1 + max((level[other] for other in graph[name]), default=0)
    assert max(level.values()) <= MOST_LEVELS


def test_the_library_prints_nothing():
    for path in LIBRARY:
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        names = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
        assert "print" not in names or room(module_name(path)) in MAY_PRINT, path.name


def test_no_file_outgrows_one_idea():
    sizes = {module_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in LIBRARY}
    assert {name: size for name, size in sizes.items() if size > MOST_LINES} == {}
    assert median(sizes.values()) <= MEDIAN_LINES


def test_the_wheel_ships_the_library_alone():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["pld_dspy"]}
    assert project["project"]["scripts"] == {"pld-dspy": "pld_dspy.cli.app:main"}


def test_every_dependency_has_a_least_and_a_first_unknown_version():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    assert [one for one in wanted if ">=" not in one or ",<" not in one] == []


@pytest.mark.parametrize(
    "name",
    [
        "py.typed",
        "release/report.html.j2",
        "release/export/client.py.txt",
        "release/review.html.j2",
        "release/review.css",
        "release/review.js",
        "demo/records.jsonl",
        "demo/rationales.jsonl",
    ],
)
def test_data_files_lie_within_the_package_and_are_not_ignored(name):
    assert (ROOT / "pld_dspy" / name).is_file()
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert not any(fnmatch(f"pld_dspy/{name}", pattern) or fnmatch(Path(name).name, pattern) for pattern in ignored)


def test_a_function_fits_on_a_screen():
    for path in LIBRARY:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                said = node.body[0].end_lineno - node.body[0].lineno + 1 if ast.get_docstring(node) else 0
                assert node.end_lineno - node.lineno + 1 - said <= MOST_OF_A_FUNCTION, f"{path.name}: {node.name}"
