"""The root command, with all subcommands and the text of `--help`."""

from __future__ import annotations

import click

from keyturn import __version__
from keyturn.cli import agent, profiles, rotate, sessions, vault
from keyturn.cli import exec as exec_

EPILOG = """\b
Without a verb the full-screen app starts. It takes these options:
  --read-only   look, and change nothing
  --ascii       no box lines or symbols beyond ASCII
  --no-mouse    leave the mouse to the terminal
  --filter TEXT start with this filter

\b
--sandbox, with the app or any verb, runs on an embedded stand-in for AWS,
with profiles, keys and a vault of its own, all gone at the end.

\b
Exit codes: 0 done, 1 failed, 2 usage, 3 nothing by that name,
4 needs a person, 5 refused to protect data.
"""


@click.group(
    invoke_without_command=True,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "--version", "-V", message="keyturn %(version)s")
@click.pass_context
def keyturn(context: click.Context) -> None:
    """Keeps your AWS credentials: long-term keys in a vault, fresh sessions where AWS clients look for them."""
    if context.invoked_subcommand is None:
        raise click.UsageError("a verb is missing, or an option of the app is not known", context)


for command in (
    *profiles.COMMANDS,
    *sessions.COMMANDS,
    *exec_.COMMANDS,
    *rotate.COMMANDS,
    vault.vault,
    agent.agent,
):
    keyturn.add_command(command)
