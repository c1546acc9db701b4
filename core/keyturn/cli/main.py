"""The root command, with all subcommands and the text of `--help`."""

from __future__ import annotations

import click

from keyturn import __version__
from keyturn.cli import agent, profiles, rotate, sessions, vault
from keyturn.cli import exec as exec_

EPILOG = """\b
Without a command, keyturn starts the full-screen app. Its options:
  --read-only   change nothing
  --ascii       use ASCII characters only
  --no-mouse    do not capture the mouse
  --filter TEXT start with this filter

\b
--sandbox, with the app or any command, runs against an embedded AWS stand-in
with its own profiles, keys and vault, which are deleted at the end.

\b
Exit codes: 0 success, 1 failure, 2 usage, 3 not found,
4 needs interaction, 5 refused to protect data, 130 stopped with Ctrl+C.
"""


@click.group(
    invoke_without_command=True,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "--version", "-V", message="keyturn %(version)s")
@click.pass_context
def keyturn(context: click.Context) -> None:
    """Keep AWS long-term keys in a vault, and deliver fresh sessions to AWS clients."""
    if context.invoked_subcommand is None:
        raise click.UsageError("unknown option, or a command is missing", context)


for command in (
    profiles.list_,
    profiles.show,
    profiles.set_,
    sessions.adopt,
    sessions.release,
    sessions.refresh,
    sessions.stop,
    sessions.deliver,
    sessions.credential_process,
    exec_.exec_,
    exec_.env,
    rotate.rotate,
    vault.vault,
    agent.agent,
):
    keyturn.add_command(command)
