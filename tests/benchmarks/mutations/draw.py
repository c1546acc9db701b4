"""Draw mutations by a seed from all candidates in some modules, as entries for `mutations.toml`.

    .venv/bin/python -m tests.benchmarks.mutations.draw NUMBER SEED FILE...

A candidate is one change in one function: a comparison, `and` or `or`, a negation, a number, a truth value,
an enum member, a dropped call, `continue` or `raise`, a returned None, or two arguments swapped.
"""
# ruff: noqa: T201 - a program that prints its result

from __future__ import annotations

import ast
import json
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.mutations.mutation import ROOT, Mutation, functions, locate

_COMPARISON: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=", ast.NotEq: "==", ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Is: "is not",
    ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
_OPERATOR: dict[type[ast.operator], str] = {ast.Add: "-", ast.Sub: "+", ast.BitOr: "&"}
_ENUM = re.compile(r"(Step|NextStep|Kind|Delivery|FileKind|VaultState|State)\.([A-Z_]+)")
_MAX_LENGTH = 220

Node = ast.expr | ast.stmt
Span = tuple[int, int]


def candidates(source: str) -> Iterator[tuple[str, str, str]]:
    """Yield function, source before and source after of each candidate in a module."""
    members = sorted(set(_ENUM.findall(source)))
    for name, function in functions(source):
        parents = {child: node for node in ast.walk(function) for child in ast.iter_child_nodes(node)}
        defaults = (default for default in function.args.kw_defaults if default is not None)
        for part in (*function.body, *function.args.defaults, *defaults):
            for node in ast.walk(part):
                if isinstance(node, Node):
                    changes = (*_operator_changes(source, node), *_other_changes(source, node, members))
                    for (start, end), text in changes:
                        found = _unique(source, function, parents, node, start)
                        if found is not None:
                            first, last = found
                            after = source[first:start] + text + source[end:last]
                            yield name, " ".join(source[first:last].split()), " ".join(after.split())


def _operator_changes(source: str, node: Node) -> Iterator[tuple[Span, str]]:
    """Yield the changes of operators: the span in the source, and the new text."""
    match node:
        case ast.Compare(left=left, ops=[operator], comparators=[right]) if type(operator) in _COMPARISON:
            yield _between(source, left, right), f" {_COMPARISON[type(operator)]} "
        case ast.BoolOp(op=operator, values=[left, right, *_]):
            start, end = _between(source, left, right)
            words = ("and", "or") if isinstance(operator, ast.And) else ("or", "and")
            yield (start, end), source[start:end].replace(*words)
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATOR:
            if not _is_text(node):
                yield _between(source, left, right), f" {_OPERATOR[type(operator)]} "
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield (_span(source, node)[0], _span(source, operand)[0]), ""


def _other_changes(source: str, node: Node, members: list[tuple[str, str]]) -> Iterator[tuple[Span, str]]:
    """Yield the changes of conditions, values, statements and arguments."""
    start, end = _span(source, node)
    match node:
        case ast.If(test=ast.Name() | ast.Attribute() | ast.Call() as test):
            yield (_span(source, test)[0],) * 2, "not "
        case ast.IfExp(test=ast.Name() | ast.Attribute() | ast.Call() as test):
            yield (_span(source, test)[0],) * 2, "not "
        case ast.Constant(value=bool() as value):
            yield (start, end), str(not value)
        case ast.Constant(value=int() as value):
            yield (start, end), str(value + 1)
        case ast.Attribute() if found := _ENUM.fullmatch(ast.unparse(node)):
            same = [member for enum, member in members if enum == found[1]]
            other = same[(same.index(found[2]) + 1) % len(same)]
            if other != found[2]:
                yield (start, end), f"{found[1]}.{other}"
        case ast.Continue() | ast.Raise() | ast.Expr(value=ast.Call()):
            yield (start, end), "pass"
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield _span(source, value), "None"
        case ast.Call(args=[ast.Name() as one, ast.Name() as two, *_]):
            first, last = _between(source, one, two)
            yield (_span(source, one)[0], _span(source, two)[1]), two.id + source[first:last] + one.id


def _is_text(node: Node) -> bool:
    """Return True if text is joined, where another operator would be a type error."""
    constants = (inner.value for inner in ast.walk(node) if isinstance(inner, ast.Constant))
    return any(isinstance(value, (str, bytes)) for value in constants)


def _unique(
    source: str, function: ast.stmt, parents: dict[ast.AST, ast.AST], node: Node, start: int
) -> Span | None:
    """Return the smallest expression or simple statement around a change that occurs once in its function.

    :param start: the start of the change.
    """
    whole = source[slice(*_span(source, function))]
    current: ast.AST | None = node
    while current is not None and not (isinstance(current, ast.stmt) and hasattr(current, "body")):
        if isinstance(current, Node):
            first, last = min(_span(source, current)[0], start), _span(source, current)[1]
            text = source[first:last]
            if "#" not in text and 3 < len(text) < _MAX_LENGTH and whole.count(text) == 1:
                return first, last
        current = parents.get(current)
    return None


def _between(source: str, left: Node, right: Node) -> Span:
    return _span(source, left)[1], _span(source, right)[0]


def _span(source: str, node: Node) -> Span:
    lines = source.splitlines(keepends=True)

    def offset(line: int, column: int) -> int:
        return sum(len(text) for text in lines[: line - 1]) + len(lines[line - 1].encode()[:column].decode())

    end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return offset(node.lineno, node.col_offset), offset(end_line, end_column)


def _quoted(text: str) -> str:
    """Return a TOML string."""
    return f"'{text}'" if "'" not in text else json.dumps(text)


def main(words: list[str]) -> int:
    """Print the entries."""
    number, seed, *files = words
    found = [
        (Path(file).stem, *candidate)
        for file in files
        for candidate in candidates(Path(file).read_text("utf-8"))
    ]
    random.Random(seed).shuffle(found)  # noqa: S311 - the same each time
    for index, (module, name, before, after) in enumerate(found[: int(number)]):
        mutation = Mutation(f"{module}-{index}", module, name, before, after)
        try:
            locate(mutation, ROOT)
        except LookupError as error:
            print(f"# {error}")
        print(f"[[mutation]]\nid = '{mutation.id}'\narea = '{module}'\nfunction = '{name}'")
        print(f"before = {_quoted(before)}\nafter = {_quoted(after)}\n")
    print(f"# drawn from {len(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
