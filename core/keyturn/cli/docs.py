"""The command list of the README, generated from the command line: `python -m keyturn.cli.docs`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from keyturn.cli.main import keyturn


def markdown() -> str:
    """Return a Markdown block with one line per command: its usage and its summary."""
    verbs = list(_verbs(keyturn, "keyturn"))
    width = min(max(len(usage) for usage, _ in verbs), 58)
    lines = [f"{usage:<{width}}  {summary}" for usage, summary in verbs]
    return "\n".join(["```text", *lines, "```"]) + "\n"


def _verbs(group: click.Group, path: str) -> Iterator[tuple[str, str]]:
    """Yield the usage and summary of every command below a group, in the order of its help."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _verbs(command, f"{path} {name}")
            continue
        arguments = [_argument(each) for each in command.params if isinstance(each, click.Argument)]
        yield " ".join([path, name, *arguments]), command.get_short_help_str(limit=200)


def _argument(argument: click.Argument) -> str:
    if argument.metavar:
        return argument.metavar
    name = (argument.name or "").upper()
    return f"[{name.removesuffix('S')}...]" if argument.nargs == -1 else name


if __name__ == "__main__":
    click.echo(markdown(), nl=False)
