"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from keyturn.cli.prompts import VaultUnlocker
from keyturn.service import CredentialService

as_json = click.option("--json", "json_", is_flag=True, help="Print JSON.")
yes = click.option("--yes", "-y", is_flag=True, help="Skip the confirmation.")


def credential_service() -> CredentialService:
    """Return the service for this process's environment, after removing expired sessions that a crash left in
    the shared files.

    :raises UnsafeFile: if keyturn's own files belong to another user or can be used by one.
    """
    service = CredentialService.from_environ(os.environ)
    service.paths.check_private()
    service.withdraw_expired()
    return service


def opens_vault(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--passphrase-fd` and `--recovery-key-fd` to a command, and pass it a
    :class:`~keyturn.cli.prompts.VaultUnlocker` as its first argument.
    """

    @click.option(
        "--passphrase-fd", type=int, metavar="N", help="Read the vault's passphrase from file descriptor N."
    )
    @click.option(
        "--recovery-key-fd",
        type=int,
        metavar="N",
        help="Unlock the vault with the recovery key from file descriptor N.",
    )
    @wraps(command)
    def wrapped(*args: Any, passphrase_fd: int | None, recovery_key_fd: int | None, **options: Any) -> Any:
        return command(VaultUnlocker(credential_service(), passphrase_fd, recovery_key_fd), *args, **options)

    return wrapped
