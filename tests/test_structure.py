"""The source tree keeps the shape that the import contracts describe."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (ROOT / "core", ROOT / "tui")
PACKAGES = ("keyturn", "keyturn_tui", "keyturn_sandbox")
CONTRIBUTING = (ROOT / ".github" / "CONTRIBUTING.md").read_text("utf-8")


def _contract_modules() -> Iterator[str]:
    """Yield every module of keyturn that a contract in pyproject.toml names."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    for contract in table["tool"]["importlinter"]["contracts"]:
        for key in ("source_modules", "forbidden_modules", "layers"):
            for entry in contract.get(key, ()):
                yield from (name.strip() for name in entry.split("|"))
        for entry in contract.get("ignore_imports", ()):
            yield from (name.strip() for name in entry.split("->"))


def _files(module: str) -> list[Path]:
    """Return the Python files of a module or package; empty if there is none."""
    for source in SOURCES:
        path = source.joinpath(*module.split("."))
        if path.is_dir():
            return sorted(path.rglob("*.py"))
        if path.with_suffix(".py").is_file():
            return [path.with_suffix(".py")]
    return []


def _has_code(file: Path) -> bool:
    """Return True if a file holds more than a docstring and imports."""
    body = ast.parse(file.read_text("utf-8")).body
    return any(not isinstance(node, ast.Expr | ast.Import | ast.ImportFrom) for node in body)


@pytest.mark.parametrize(
    "module", sorted({name for name in _contract_modules() if name.startswith("keyturn")})
)
def test_a_module_named_in_a_contract_exists_and_holds_code(module: str) -> None:
    assert any(_has_code(file) for file in _files(module))


def test_every_package_holds_code() -> None:
    packages = [file.parent for source in SOURCES for file in source.rglob("__init__.py")]
    assert [path for path in packages if not any(_has_code(file) for file in path.rglob("*.py"))] == []


def test_every_module_says_its_purpose() -> None:
    files = [file for source in SOURCES for file in source.rglob("*.py")]
    assert [str(file) for file in files if not ast.get_docstring(ast.parse(file.read_text("utf-8")))] == []


def test_the_top_of_the_core_has_few_entries() -> None:
    entries = [path.name for path in (ROOT / "core" / "keyturn").iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 15, sorted(entries)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    assert _circles(package) == []


def _circles(package: str) -> list[list[str]]:
    """Return the strongly connected components of a package's import graph that hold more than one module."""
    graph = grimp.build_graph(package, cache_dir=None)
    imports = {module: sorted(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    reachable = {module: _reach(module, imports) for module in imports}
    circles = {
        tuple(sorted({module, *(other for other in reachable[module] if module in reachable[other])}))
        for module in imports
        if module in reachable[module]
    }
    return [list(circle) for circle in sorted(circles)]


def _reach(start: str, imports: dict[str, list[str]]) -> set[str]:
    """Return all modules that `start` imports, directly or through others."""
    seen: set[str] = set()
    pending = list(imports[start])
    while pending:
        module = pending.pop()
        if module not in seen:
            seen.add(module)
            pending += imports.get(module, ())
    return seen


def test_every_path_in_the_guide_for_contributors_exists() -> None:
    named = set(re.findall(r"(?:core|tui|tests|\.ci|\.github)/[\w./-]*\w", CONTRIBUTING))
    assert sorted(path for path in named if not (ROOT / path).exists()) == []


def test_the_guide_for_contributors_answers_each_question_with_one_path() -> None:
    table = CONTRIBUTING.split("## Where is")[1].split("##")[0]
    answers = [row.split("|")[2].strip() for row in table.splitlines() if row.startswith("|")][2:]
    assert len(answers) == 17
    assert [answer for answer in answers if not re.fullmatch(r"`[\w./]+`", answer)] == []


def test_the_map_of_the_core_has_the_layers_in_their_order() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    rank = {
        module.strip(): number for number, layer in enumerate(reversed(layers)) for module in layer.split("|")
    }
    rows = re.findall(
        r"^\| `core/(keyturn/\w+)(?:\.py)?` \|", CONTRIBUTING.split("## Where is")[0], re.MULTILINE
    )
    order = [rank[row.replace("/", ".")] for row in rows]
    assert len(order) == len(rank)
    assert order == sorted(order)


def test_every_path_in_the_list_of_quick_tests_exists() -> None:
    lines = (ROOT / ".ci" / "quick-tests").read_text("utf-8").splitlines()
    paths = [line.removeprefix("!") for line in lines if line and not line.startswith("#")]
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []


#: A docstring that opens with one of these is a riddle: the reader learns its subject last.
OPENERS = {"What", "Whatever", "Whether", "How", "Where", "Who", "Whoever", "Which", "When", "If"}


def _docstrings(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and text of every docstring in a file."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def test_no_docstring_of_the_sources_opens_with_a_question_word() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for source in SOURCES
        for file in source.rglob("*.py")
        for line, text in _docstrings(file)
        if text.split()[0].strip(",.:") in OPENERS
    ]
    assert not found, "\n".join(found)


def test_no_package_defines_a_name_that_is_a_module_of_its_own() -> None:
    """Importing the module would put it in the place of the function."""
    found = [
        f"{package}: {node.name}"
        for source in SOURCES
        for package in source.rglob("__init__.py")
        for node in ast.parse(package.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and (package.parent / f"{node.name}.py").exists()
    ]
    assert found == []
