"""A seeded mutation: its entry in `mutations.toml`, its place in the source, and the mutated source."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
LIST = Path(__file__).with_name("mutations.toml")
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class Mutation:
    """A change of one function that tests must notice."""

    id: str
    area: str
    """Selects the tests that judge the mutation."""
    function: str
    """Name of the function, with its class where other functions have the same name."""
    before: str
    """Source that occurs once in the function. White space matches any white space."""
    after: str
    old: Mapping[str, Any] = field(default_factory=dict)
    """Fields that differ at the earlier revision."""

    def earlier(self) -> Mutation:
        """Return the mutation in the form of the earlier revision."""
        return replace(self, **self.old)


@dataclass(frozen=True, slots=True)
class Place:
    """The function that a mutation changes, as one tree has it."""

    file: Path
    start: int
    """Index of the function's first line in the file."""
    lines: tuple[str, ...]
    """Lines of the function, without decorators."""

    def mutated(self, mutation: Mutation) -> tuple[str, ...]:
        """Return the lines of the function with the mutation applied."""
        source = _pattern(mutation.before).sub(lambda _: mutation.after, "".join(self.lines))
        return tuple(source.splitlines(keepends=True))

    def mutated_file(self, mutation: Mutation) -> str:
        """Return the source of the whole file with the mutation applied."""
        lines = self.file.read_text("utf-8").splitlines(keepends=True)
        lines[self.start : self.start + len(self.lines)] = self.mutated(mutation)
        return "".join(lines)


@dataclass(frozen=True, slots=True)
class MutationList:
    """The content of `mutations.toml`."""

    mutations: tuple[Mutation, ...]
    tests: Mapping[str, list[list[str]]]
    """Test paths of each area: stages from cheap to dear, each one pytest run."""
    earlier_tests: Mapping[str, list[list[str]]]
    """The same for the earlier revision."""


def load(path: Path = LIST) -> MutationList:
    """Return the list of mutations."""
    table = tomllib.loads(path.read_text("utf-8"))
    mutations = tuple(Mutation(**entry) for entry in table["mutation"])
    return MutationList(mutations, table["tests"], table["earlier_tests"])


def locate(mutation: Mutation, tree: Path) -> Place:
    """Return the function that holds the mutation's source, from all packages of the core.

    :raises LookupError: if no function or several match; the message names the entry and the reason.
    """
    named = list(_functions(mutation.function, tree))
    pattern = _pattern(mutation.before)
    counts = [(place, len(pattern.findall("".join(place.lines)))) for place in named]
    match [place for place, count in counts if count == 1]:
        case [place]:
            return place
        case [_, _, *_] as places:
            files = ", ".join(str(place.file.relative_to(tree)) for place in places)
            why = f"several functions match, in {files}"
        case _ if not named:
            why = f"there is no function {mutation.function}"
        case _:
            why = f"{mutation.function} has `before` {max(count for _, count in counts)} times, not once"
    raise LookupError(f"entry {mutation.id} of {LIST.name}: {why}")


def _functions(name: str, tree: Path) -> Iterator[Place]:
    last = name.rpartition(".")[2]
    for file, source in _sources(tree):
        if f"def {last}(" not in source:
            continue
        lines = source.splitlines(keepends=True)
        for qualified, node in functions(source):
            if qualified == name or qualified.endswith(f".{name}"):
                yield Place(file, node.lineno - 1, tuple(lines[node.lineno - 1 : node.end_lineno]))


@cache
def _sources(tree: Path) -> list[tuple[Path, str]]:
    return [(file, file.read_text("utf-8")) for file in sorted((tree / "core" / "keyturn").rglob("*.py"))]


@cache
def functions(source: str) -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Return the functions of a module, each with its qualified name."""
    found: list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]] = []

    def visit(node: ast.AST, path: tuple[str, ...]) -> None:
        for child in ast.iter_child_nodes(node):
            inner = path
            if isinstance(child, (*_FUNCTION, ast.ClassDef)):
                inner = (*path, child.name)
            if isinstance(child, _FUNCTION):
                found.append((".".join(inner), child))
            visit(child, inner)

    visit(ast.parse(source), ())
    return found


@cache
def _pattern(source: str) -> re.Pattern[str]:
    """Return the pattern of a fragment that matches it in any layout of the formatter."""
    pattern = ""
    for token in re.findall(r"\w+|\s+|.", source):
        if token.isspace():
            pattern += r"\s+"
        elif token in _OPENING:
            pattern += re.escape(token) + r"\s*"
        elif token in _CLOSING:
            pattern += r",?\s*" + re.escape(token)
        else:
            pattern += re.escape(token)
    return re.compile(rf"(?<!\w){pattern}(?!\w)" if source[:1].isalnum() else pattern)
