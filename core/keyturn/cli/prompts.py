"""Prompts for passphrases, codes and confirmations, on the terminal or through a file descriptor. Stdin is
read only if it is a terminal."""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TypeVar

import click

from keyturn.agent import rpc_client
from keyturn.cli.output import tell_if_slow
from keyturn.model.errors import (
    RUN,
    KeyringAbsent,
    KeyringDenied,
    KeyringLocked,
    NeedsConfirmation,
    NeedsInteraction,
    NeedsMfa,
    NeedsUnlock,
    NeedsVault,
    Remedy,
    UsageError,
    WrongPassphrase,
)
from keyturn.model.profile import VaultState
from keyturn.model.secret import Secret
from keyturn.model.text import safe
from keyturn.service import CredentialService
from keyturn.vault import passphrase as passphrases

T = TypeVar("T")
#: Length limit of a secret in bytes, because a wrong descriptor may be endless.
MAX_SECRET_LENGTH = 4096
TRIES = 3
#: Length limit of a question in characters. The plan printed above it is complete.
MAX_QUESTION_LENGTH = 400


def on_terminal() -> bool:
    """Return True if the user can be prompted."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty()


def from_descriptor(number: int, what: str) -> Secret:
    """Return the first line of an open file descriptor as a secret.

    :raises UsageError: if the descriptor is not open, is empty, or holds no text.
    """
    try:
        data, part = b"", b"\0"
        while part and len(data) < MAX_SECRET_LENGTH and b"\n" not in data:
            part = os.read(number, MAX_SECRET_LENGTH)
            data += part
        text = data.split(b"\n", 1)[0].removesuffix(b"\r").decode("utf-8")
    except (OSError, UnicodeDecodeError):
        raise UsageError(
            what, f"file descriptor {number} is not open or not text", "Open it, for example: 3<file"
        ) from None
    if not text:
        raise UsageError(what, f"file descriptor {number} is empty", "Write the secret to it, on one line")
    return Secret(text)


def given_or_asked(
    descriptor: int | None, name: str, ask: Callable[[], Secret], unanswerable: NeedsInteraction
) -> Secret:
    """Return a secret from a file descriptor, or from a prompt if none is given.

    :param name: the secret, as in an error: `the passphrase`.
    :raises NeedsInteraction: `unanswerable`, if there is neither a descriptor nor a terminal.
    """
    if descriptor is not None:
        return from_descriptor(descriptor, f"Could not read {name}")
    if not on_terminal():
        raise unanswerable
    return ask()


def ask_secret(prompt: str) -> Secret:
    """Prompt for a secret on the terminal, without echo."""
    text = f"{safe(prompt)}: "
    try:
        with _hide_after_resume(text):
            return Secret(getpass.getpass(text, stream=None))
    except EOFError:
        raise click.exceptions.Abort from None


@contextmanager
def _hide_after_resume(prompt: str) -> Iterator[None]:
    """Turn echo off again after Ctrl+Z and `fg`, because the shell restores its own terminal mode."""

    def hide(_number: int, _frame: FrameType | None) -> None:
        with (
            contextlib.suppress(OSError, termios.error),
            Path("/dev/tty").open("w", encoding="utf-8", errors="replace") as terminal,
        ):
            state = termios.tcgetattr(terminal)
            state[3] &= ~termios.ECHO
            termios.tcsetattr(terminal, termios.TCSAFLUSH, state)
            click.echo(safe(prompt), file=terminal, nl=False)

    before = signal.signal(signal.SIGCONT, hide)
    try:
        yield
    finally:
        signal.signal(signal.SIGCONT, before)


def ask_line(prompt: str) -> str:
    """Prompt for a line on the terminal. The prompt goes to stderr."""
    click.echo(f"{safe(prompt)}: ", nl=False, err=True)
    line = sys.stdin.readline()
    if not line:
        raise click.exceptions.Abort
    return line.strip()


def confirm(question: str, *, yes: bool) -> None:
    """Ask for confirmation of a change.

    :raises NeedsConfirmation: if there is no terminal and no `--yes`.
    """
    if yes:
        return
    if not on_terminal():
        raise NeedsConfirmation(
            question, "there is no terminal for the confirmation", "Use --yes to skip the confirmation"
        )
    if ask_line(f"{safe(question, MAX_QUESTION_LENGTH)}? [y/N]").lower() not in ("y", "yes"):
        click.echo("Nothing was changed.", err=True)
        raise click.exceptions.Exit(1)


@dataclass
class VaultUnlocker:
    """Unlocks the vault for a command: with the given descriptor, else with a prompt."""

    service: CredentialService
    passphrase_fd: int | None = None
    recovery_key_fd: int | None = None
    _passphrase: Secret | None = field(default=None, repr=False)
    _recovery_key: Secret | None = field(default=None, repr=False)

    @property
    def has_given_secret(self) -> bool:
        return self.passphrase_fd is not None or self.recovery_key_fd is not None

    @property
    def can_unlock(self) -> bool:
        """True if a secret was given or can be asked for, or the system keyring opens the vault."""
        is_closed = self.service.context.vault.state() is VaultState.CLOSED
        return self.has_given_secret or on_terminal() or is_closed

    def passphrase(self, why: str) -> Secret | None:
        """Return the vault's passphrase from the descriptor or a prompt, or None if there is no terminal.

        :param why: the text of the prompt.
        """
        if self._passphrase is None:
            if self.passphrase_fd is not None:
                self._passphrase = from_descriptor(self.passphrase_fd, "Could not read the passphrase")
            elif on_terminal():
                self._passphrase = ask_secret(why)
        return self._passphrase

    def recovery_key(self) -> Secret:
        """Return the recovery key from the given descriptor, which can be read only once."""
        if self._recovery_key is None:
            self._recovery_key = from_descriptor(self.recovery_key_fd or 0, "Could not read the recovery key")
        return self._recovery_key

    def unlock(self) -> None:
        """Unlock the vault.

        :raises NeedsUnlock: if there is no descriptor and no terminal.
        :raises AgentHangs: if an agent runs and does not respond. Then nothing is prompted for.
        """
        rpc_client.require_responsive(self.service.agent_socket)
        if self.recovery_key_fd is not None:
            recovery_key = self.recovery_key()
            with tell_if_slow("Opening the vault"):
                self.service.unlock(recovery_key=recovery_key)
        elif self.passphrase_fd is not None:
            passphrase = self.passphrase("")
            with tell_if_slow("Opening the vault"):
                self.service.unlock(passphrase)
        elif on_terminal():
            self._unlock_by_prompt()
        else:
            raise NeedsUnlock("Vault is locked", "", Remedy("vault unlock"))

    def unlock_by_keyring(self) -> None:
        """Unlock the vault with the system keyring, or with a prompt for the passphrase if the keyring fails.

        :raises KeyturnError: if the keyring fails and there is no terminal or no passphrase slot.
        """
        try:
            with tell_if_slow("Opening the vault"):
                self.service.unlock()
        except (KeyringAbsent, KeyringLocked, KeyringDenied) as error:
            if not on_terminal() or "passphrase" not in self.service.context.vault.slots():
                raise
            click.echo(f"keyturn: {error.line()}", err=True)
            self._unlock_by_prompt()

    def _unlock_by_prompt(self) -> None:
        for tries_left in range(TRIES - 1, -1, -1):
            passphrase = ask_secret("Passphrase of the keyturn vault")
            try:
                with tell_if_slow("Opening the vault"):
                    self.service.unlock(passphrase)
            except WrongPassphrase as error:
                if not tries_left:
                    raise
                click.echo(f"keyturn: {error.line()}", err=True)
            else:
                return

    def create_missing_vault(self) -> None:
        """Create the vault, with prompts on the terminal.

        :raises NeedsVault: if there is no terminal.
        """
        if not on_terminal():
            raise NeedsVault(
                "No vault yet",
                "",
                (RUN, Remedy("vault init", flag="--slot keyring"), ", or --slot passphrase"),
            )
        backend = self.service.keyring_backend()
        if backend is not None:
            click.echo(f"keyturn creates a vault first. {safe(backend)} unlocks it.", err=True)
            create_vault(self.service, "keyring", None)
            return
        click.echo(
            "keyturn creates a vault first. A passphrase unlocks it, because no system keyring is available.",
            err=True,
        )
        create_vault(self.service, "passphrase", ask_new_passphrase())

    def run(self, action: Callable[[], T]) -> T:
        """Call `action`. If it needs the vault, unlock or create it, and call `action` again."""
        try:
            return action()
        except NeedsVault:
            self.create_missing_vault()
        except NeedsUnlock:
            if not self.has_given_secret and not on_terminal():
                raise
            self.unlock()
        return action()

    def run_with_code(self, action: Callable[[str | None], T], code: str | None) -> T:
        """Call `action` like :meth:`run`, and prompt for an MFA code if one is needed and none was given."""
        try:
            return self.run(lambda: action(code))
        except NeedsMfa as error:
            if code is not None or not on_terminal():
                raise
            typed_code = ask_line(f"MFA code of {error.serial} for {error.profile}")
        return self.run(lambda: action(typed_code))


def ask_new_passphrase() -> Secret:
    """Prompt for a new passphrase twice.

    :raises UsageError: if the two differ, or the passphrase is too short.
    """
    first = passphrases.check(ask_secret("New passphrase"))
    if ask_secret("Repeat passphrase") != first:
        raise UsageError("Passphrases don't match", "nothing was changed", "Try again")
    return first


def create_vault(
    service: CredentialService, slot: str, passphrase: Secret | None, *, anew: bool = False
) -> None:
    """Create a vault, show the recovery key on the terminal, and have its last characters typed."""
    with tell_if_slow("Creating the vault"):
        recovery_key = service.create_vault(slot, passphrase, anew=anew)
    click.echo(
        "The recovery key unlocks the vault if all else is lost. Write it down, and keep it off this "
        "machine:",
        err=True,
    )
    click.echo(f"\n  {recovery_key.reveal()}\n", err=True)
    for _ in range(TRIES):
        if ask_line("Type its last six characters").upper() == recovery_key.reveal()[-6:].upper():
            service.confirm_recovery_key()
            click.echo("Confirmed. Anyone with this key can unlock the vault: clear the screen.", err=True)
            return
    click.echo("These are not its last characters. To show it again: keyturn vault recovery-key", err=True)
