"""The command line: one module per group of commands. Importing it loads no boto3, keyring or textual."""

from __future__ import annotations

from collections.abc import Sequence


def run_verb(argv: Sequence[str]) -> int:
    """Run one command.

    :param argv: the arguments after the program's name.
    :returns: the exit code.
    :raises KeyturnError: if the command fails. The console script prints it as one line.
    """
    import click

    from keyturn.cli.main import keyturn
    from keyturn.model.errors import UsageError

    try:
        result = keyturn.main(list(argv), prog_name="keyturn", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.exceptions.Abort:
        return 130
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "keyturn"
        what = path.removeprefix("keyturn").strip() or "Usage error"
        is_bare = isinstance(error, click.exceptions.NoArgsIsHelpError)
        why = "a command is missing" if is_bare else error.format_message()
        raise UsageError(what, why, f"Run: {path} --help") from None
    return result if isinstance(result, int) else 0
