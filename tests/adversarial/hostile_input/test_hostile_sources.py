"""No place in the command line or the app writes text of unknown origin: each is a literal, a number, or has
passed `safe`. The sources are parsed, so a new place counts from the day it is written."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
CLI, TUI = ROOT / "core" / "keyturn" / "cli", ROOT / "tui" / "keyturn_tui"
#: Calls that show text to the user; the text is their first argument (the second of `os.write`, all after the
#: first of `set_border_text`).
SINKS = {
    "echo", "secho", "print", "write", "notify", "Content", "Segment", "getpass", "prompt", "from_markup",
    "set_title", "set_border_text", "Text",
    "Static", "Label", "panic", "bell", "copy_to_clipboard", "open_url",
}  # fmt: skip
#: Attributes that Textual shows, as markup unless they are `Content`.
SHOWN = {"border_title", "border_subtitle", "tooltip", "placeholder", "title", "sub_title"}
#: Calls that return harmless text for any argument, or no text at all.
CLEANERS = {
    "safe",
    "fit",
    "line",
    "join_names",
    "neutralize",
    "ascii_only",
    "dumps",
    "cells",
    "cell_len",
    "len",
    "markdown",
    "type",
    "int",
    "round",
    "sum",
}
#: Calls that keep harmless text harmless.
PRESERVERS = {
    "join",
    "strip",
    "rstrip",
    "ljust",
    "rjust",
    "center",
    "capitalize",
    "split",
    "title",
    "removeprefix",
}
#: Places with text made by keyturn, secret on purpose, or of numbers and literals only: the place, the
#: expression, and the reason.
KNOWN = {
    ("sessions.py", "document"): "JSON, ASCII only, which AWS clients read",
    ("prompts.py", "recovery_key.reveal()"): "an age identity is upper-case letters and digits",
    ("vault.py", "service.context.vault.recovery_key().reveal()"): "the same",
    ("vault.py", "recovery_key.reveal().encode() + b'\\n'"): "the same, to a descriptor that was asked for",
    ("main.py", "text"): "encoded by `_write_stderr`, whose callers are checked",
    (
        "exec.py",
        "environment.render(_change(unlocker, profile, region, min_left, mfa_code), language)",
    ): "refuses what is not harmless",
    ("agent.py", "install.systemd_unit(program)"): "the same, of the one word in it",
    ("agent.py", "install.launchd_plist(program)"): "the same",
    ("agent.py",
    "install.lines(host, local_socket, at, names)"): "refuses what is not harmless, and makes names so",
    ("timeline.py", "self.window_words"): "times and lengths",
    (
        "rotate.py",
        "iam_policy.self_rotation(partition, path, with_mfa=bool(row.mfa_serial))",
    ): "JSON, ASCII only, for IAM",
    (
        "rotation.py",
        "dialog_title(self._rotation.view, self.text_width, self.state.terminal.glyphs)",
    ): "a name that has passed `fit`, and numbers",
    ("timeline_strip.py", "title"): "the same, from `window_words`",
    ("driver.py", "text"): "Textual's output, after the filters of `output_filters`",
    ("app.py", "app.fault"): "a type's and a file's name, by `crash_report`",
    ("command_palette.py", "label"): "the registry's",
    ("command_palette.py", "action.key_label.split()[0]"): "the registry's",
    ("styled_lines.py", "text"): "a segment that was made by `safe`, padded",
    ("styled_lines.py", "title"): "of `set_border_text`, whose callers are checked",
    ("styled_lines.py", "subtitle"): "the same",
    ("review_changes.py", "self._plan.action"): "`adopt` or `release`",
    ("profiles.py", "label"): "a literal of `_lines`",
    ("profiles.py", "key"): "a setting's own name",
    ("profiles.py", "number"): "counted",
    ("vault.py", "b''"): "nothing, to see whether it can be written",
    ("main.py", "self.rule"): "a box line",
    ("timeline.py", "self.rule"): "the same",
    ("main.py", "order_text"): "the name of an order",
}  # fmt: skip


class Function:
    """The values that the names of one function stand for, as far as the function itself assigns them."""

    def __init__(self, file: Path, node: ast.AST) -> None:
        self.file = file
        self.values: dict[str, list[ast.expr]] = {}
        for each in ast.walk(node):
            if isinstance(each, ast.Assign):
                for target in each.targets:
                    self._bind(target, each.value)
            elif isinstance(each, (ast.For, ast.comprehension)):
                self._bind(each.target, each.iter)
            elif isinstance(each, ast.AnnAssign) and each.value is not None:
                self._bind(each.target, each.value)

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.values.setdefault(target.id, []).append(value)
        elif isinstance(target, ast.Tuple):
            zipped = isinstance(value, ast.Call) and _name(value.func) == "zip"
            parts = value.elts if isinstance(value, ast.Tuple) else value.args if zipped else ()  # type: ignore[attr-defined]  # a call, if zipped
            for one, its in zip(target.elts, parts, strict=False):
                self._bind(one, its)

    def unclean(  # noqa: C901, PLR0912  # one case for each kind of expression
        self, node: ast.expr, seen: frozenset[str] = frozenset()
    ) -> Iterator[str]:
        """Yield the parts of an expression that may hold foreign text."""
        if (self.file.name, ast.unparse(node)) in KNOWN:
            return
        match node:
            case ast.Constant():
                return
            case ast.JoinedStr(values=parts):
                for part in parts:
                    yield from self.unclean(part, seen)
            case ast.FormattedValue(value=value, format_spec=spec):
                digits = isinstance(spec, ast.JoinedStr) and ast.unparse(spec).rstrip("'\"").endswith(
                    ("d", "f", "S", "M")
                )
                if not digits:
                    yield from self.unclean(value, seen)
            case ast.IfExp(body=body, orelse=other):
                yield from self.unclean(body, seen)
                yield from self.unclean(other, seen)
            case ast.BinOp(left=left, op=ast.Mult()):  # a literal, repeated
                yield from self.unclean(left, seen)
            case ast.BinOp(left=left, right=right):
                yield from self.unclean(left, seen)
                yield from self.unclean(right, seen)
            case ast.Call():
                yield from self._call(node, seen)
            case ast.Subscript(value=value):
                yield from self.unclean(value, seen)
            case ast.GeneratorExp(elt=element) | ast.ListComp(elt=element):
                yield from self.unclean(element, seen)
            case ast.Name(id=name) if name in self.values and name not in seen:
                for value in self.values[name]:
                    yield from self.unclean(value, seen | {name})
            case ast.Name(id=name) if name in seen or name.isupper():
                return
            case _:
                yield ast.unparse(node)

    def _call(self, node: ast.Call, seen: frozenset[str]) -> Iterator[str]:
        name = _name(node.func)
        if name in CLEANERS:
            return
        if name in PRESERVERS and isinstance(node.func, ast.Attribute):
            yield from self.unclean(node.func.value, seen)
            if name == "join":
                yield from self.unclean(node.args[0], seen)
            return
        if name == "Content":
            yield from self.unclean(node.args[0], seen)
            return
        yield ast.unparse(node)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _texts(sink: ast.Call) -> list[ast.expr]:
    """Return the arguments of a call of :data:`SINKS` that are shown."""
    if _name(sink.func) == "set_border_text":
        return sink.args[1:]
    return [sink.args[ast.unparse(sink.func) == "os.write"]]


def places(source: str, file: Path) -> Iterator[tuple[int, Function, ast.expr, ast.AST]]:
    """Yield every text that is shown to the user: its line, the enclosing function, the text, and the call
    that shows it."""
    tree = ast.parse(source)
    scopes: list[ast.AST] = [
        each for each in ast.walk(tree) if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    for scope in scopes or [tree]:
        inside = Function(file, scope)
        for node in ast.walk(scope):
            if isinstance(node, ast.Call) and _name(node.func) in SINKS and node.args:
                for text in _texts(node):
                    yield node.lineno, inside, text, node
            elif isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Attribute) and target.attr in SHOWN for target in node.targets
            ):
                yield node.lineno, inside, node.value, node


def faults(source: str, file: Path) -> list[str]:
    """Return the texts that are shown without having been made harmless."""
    unclean_texts = []
    for line, inside, text, node in places(source, file):
        unclean_texts += [f"{file.name}:{line}: {part}" for part in inside.unclean(text)]
        if isinstance(node, ast.Assign) and _name(getattr(text, "func", text)) != "Content":
            unclean_texts.append(f"{file.name}:{line}: read as markup: {ast.unparse(node)}")
        if isinstance(node, ast.Call) and _name(node.func) == "notify":
            plain = any(word.arg == "markup" and ast.unparse(word.value) == "False" for word in node.keywords)
            unclean_texts += [] if plain else [f"{file.name}:{line}: a toast that reads markup"]
    return unclean_texts


def sources() -> list[Path]:
    return [*sorted(CLI.glob("*.py")), *sorted(TUI.rglob("*.py"))]


def test_whatever_is_put_before_a_person_is_a_literal_or_was_made_harmless() -> None:
    checks = sum(1 for file in sources() for _ in places(file.read_text(), file))
    assert checks > 40, "the check sees the places at all"
    unclean_texts = [fault for file in sources() for fault in faults(file.read_text(), file)]
    assert not unclean_texts, "\n".join(unclean_texts)


def test_the_app_uses_no_widget_that_reads_markup() -> None:
    """The text field is the only widget of Textual's own that is used; other lines are drawn by
    `StyledLines`, segment by segment."""
    for file in TUI.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("textual.widgets"):
                assert {alias.name for alias in node.names} <= {"Input"}, file
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rich"):
                assert not {alias.name for alias in node.names} & {"Text", "Markdown", "Console", "print"}, (
                    file
                )
            assert not (isinstance(node, ast.Attribute) and node.attr in ("from_markup", "from_ansi")), file


def test_the_check_notices_what_it_is_there_for() -> None:
    def fault(body: str, parameters: str = "x") -> bool:
        return bool(faults(f"def f({parameters}):\n    {body}\n", Path("new.py")))

    for body in (
        "click.echo(x)", "click.echo(f'{x}')", "click.echo('a' + x)", "y = x\n    click.echo(y)",
        "click.echo(', '.join(x))",
        "click.echo(str(x))", "for y in x:\n        click.echo(y)", "self.notify(safe(x))",
        "self.notify(x, markup=False)",
        "box.border_title = x", "box.border_title = safe(x)", "box.border_title = Content(x)",
        "w.tooltip = Content(f'{x.name}')",
        "set_border_text(box, x)", "set_border_text(box, safe(x), x)",
        "sys.stdout.write(x)", "print(x)", "click.echo(x.strip())", "click.echo('a' if x else x)",
        "yield Segment(x)",
    ):  # fmt: skip
        assert fault(body), body
    for body in (
        "click.echo(safe(x))", "click.echo('a')", "click.echo(f'{safe(x)}: {len(x)}')",
        "y = safe(x)\n    click.echo(y)",
        "self.notify(safe(x), markup=False)", "box.border_title = Content(safe(x, 60))",
        "click.echo(error.line())", "set_border_text(box, safe(x), 'a')",
        "y = ', '.join(safe(z) for z in x)\n    box.border_title = Content(f'{y}')",
    ):  # fmt: skip
        assert not fault(body), body
