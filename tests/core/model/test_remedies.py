"""Every command in a hint of the sources is a Remedy, and every Remedy is a command of the command line."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import pytest

from keyturn.cli.main import keyturn
from keyturn.model import errors
from keyturn.profiles import settings

ROOT = Path(__file__).resolve().parents[3]
#: The trees of all modules, by path.
TREES = {
    str(path.relative_to(ROOT)): ast.parse(path.read_text("utf-8"))
    for package in ("core/keyturn", "tui/keyturn_tui")
    for path in sorted((ROOT / package).rglob("*.py"))
}
#: Has a line named `_undo_hint`, which is no hint of an error.
UNDO_LINE = "tui/keyturn_tui/dialogs/review_changes.py"
ERRORS = {
    name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)
}
#: Functions and methods that take a hint, and its position among their arguments.
TAKES_HINT = {**dict.fromkeys(ERRORS, 2), "rotation_halted": 2, "KeyDrift": 1, "Refusal": 1, "add_hint": 0}
COMMAND = re.compile(rf"\bkeyturn ({'|'.join(map(re.escape, keyturn.commands))})\b")


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command by its words on the command line."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


COMMANDS = dict(commands(keyturn))


def callee(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def values_by_name(tree: ast.AST) -> dict[str, list[ast.expr]]:
    """Return everything that a module assigns to a name, or returns from a function of that name."""
    found: dict[str, list[ast.expr]] = defaultdict(list)
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                for target, value in zip(targets, values, strict=False):
                    if isinstance(target, ast.Name):
                        found[target.id].append(value)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name].append(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found[name].append(value)
            case ast.comprehension(target=ast.Name(id=name), iter=ast.Tuple(elts=values)):
                found[name] += values
            case ast.FunctionDef(name=name):
                found[name] += [
                    each.value for each in ast.walk(node) if isinstance(each, ast.Return) and each.value
                ]
    return found


def hints(tree: ast.AST) -> Iterator[ast.expr]:
    """Yield every expression that is passed as a hint, set as one, or named as one."""
    for name, values in values_by_name(tree).items():
        if "hint" in name.lower():
            yield from values
    for node in ast.walk(tree):
        match node:
            case ast.Call() if callee(node) in TAKES_HINT:
                yield from node.args[TAKES_HINT[callee(node)] :]
                yield from (keyword.value for keyword in node.keywords if keyword.arg == "hint")
            case ast.Assign(targets=[ast.Attribute(attr="hint")], value=value):
                yield value


def texts(tree: ast.AST, expressions: Iterable[ast.expr]) -> set[str]:
    """Return every text in expressions, also of the names that they use, and the names that these use."""
    values, seen, found = values_by_name(tree), set[str](), set[str]()
    pending = list(expressions)
    while pending:
        for node in ast.walk(pending.pop()):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.Name) and node.id not in seen:
                seen.add(node.id)
                pending += values.get(node.id, [])
    return found


def remedies() -> Iterator[tuple[str, ast.Call]]:
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and callee(node) == "Remedy":
                yield path, node


def argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    if len(call.args) > position:
        return call.args[position]
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


@pytest.mark.parametrize("path", [path for path in TREES if path != UNDO_LINE])
def test_a_command_in_a_hint_is_a_remedy(path: str) -> None:
    found = texts(TREES[path], hints(TREES[path]))
    assert sorted(text for text in found if COMMAND.search(text)) == []


def test_the_search_finds_commands_in_hints() -> None:
    source = (
        "_RESET = 'Run: keyturn vault unlock'\n"
        "def f(x):\n"
        "    what, advice = 'a', f'To undo: keyturn rotate {x} --undo'\n"
        "    raise NotFound(what, 'b', advice)\n"
        "def g(error):\n"
        "    error.hint = ('Wait, or run: ', 'keyturn list')\n"
        "    raise errors.VaultCorrupt('a', hint=_RESET)\n"
        "def _hint():\n"
        "    return 'See: keyturn show X'\n"
        "why = 'keyturn adopt is not a hint here'\n"
    )
    tree = ast.parse(source)
    found = {text for text in texts(tree, hints(tree)) if COMMAND.search(text)}
    assert found == {
        "Run: keyturn vault unlock", "To undo: keyturn rotate ", "keyturn list", "See: keyturn show X"
    }  # fmt: skip


def test_there_are_remedies() -> None:
    assert len(list(remedies())) > 80


@pytest.mark.parametrize(
    ("path", "call"), remedies(), ids=lambda value: value if isinstance(value, str) else str(value.lineno)
)
def test_a_remedy_is_a_command_of_the_command_line(path: str, call: ast.Call) -> None:
    operation = argument(call, 0, "operation")
    assert isinstance(operation, ast.Constant)
    command = COMMANDS[str(operation.value)]
    arguments = {each.name for each in command.params if isinstance(each, click.Argument)}
    if argument(call, 1, "profile") is not None:
        assert arguments & {"profile", "profiles"}
    options = {name for each in command.params if isinstance(each, click.Option) for name in each.opts}
    flag = argument(call, 2, "flag")
    for text in texts(TREES[path], [flag]) if flag is not None else ():
        for word in text.split():
            if word.startswith("--"):
                assert word in options
            elif "=" in word:
                assert "key_values" in arguments
                assert word == "NAME=VALUE" or settings.parse([word])


@pytest.mark.parametrize("name", ["rotat", "vault", "vault unlok"])
def test_an_operation_that_does_not_exist_is_noticed(name: str) -> None:
    assert name not in COMMANDS
