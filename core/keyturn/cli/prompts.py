"""Asking a person: passphrases, codes and confirmations, on the terminal or by a file descriptor. Never on stdin data."""

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

from keyturn.agent import client
from keyturn.agent.fast_lock_check import LOCKED
from keyturn.model.errors import (
    KeyringAbsent,
    KeyringDenied,
    KeyringLocked,
    NeedsConfirmation,
    NeedsMfa,
    NeedsUnlock,
    NeedsVault,
    UsageError,
    WrongPassphrase,
)
from keyturn.model.secret import Secret
from keyturn.model.text import safe
from keyturn.service import CredentialService
from keyturn.vault import passphrase as passphrases

T = TypeVar("T")
#: Nobody needs a longer passphrase, and a wrong descriptor may be an endless one.
MAX_SECRET_LENGTH = 4096
TRIES = 3
#: Beyond this a question is cut, before its mark and what can be answered; the plan above it is whole.
MAX_QUESTION_LENGTH = 400


def on_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty()


def from_descriptor(number: int, what: str) -> Secret:
    """A secret from an open file descriptor: its first line, without the line end.

    :raises UsageError: the descriptor is not open, empty, or gives no text.
    """
    try:
        data = b""
        while len(data) < MAX_SECRET_LENGTH and b"\n" not in data:
            part = os.read(number, MAX_SECRET_LENGTH)
            if not part:
                break
            data += part
        text = data.split(b"\n", 1)[0].removesuffix(b"\r").decode("utf-8")
    except (OSError, UnicodeDecodeError):
        raise UsageError(
            what, f"file descriptor {number} gives no text", "Open it, for example: 3<file"
        ) from None
    if not text:
        raise UsageError(what, f"file descriptor {number} is empty", "Write the secret into it, on one line")
    return Secret(text)


def ask_secret(prompt: str) -> Secret:
    """A secret typed on the terminal, not shown."""
    text = f"{safe(prompt)}: "
    try:
        with _hide_after_resume(text):
            return Secret(getpass.getpass(text, stream=None))
    except EOFError:
        raise click.exceptions.Abort from None


@contextmanager
def _hide_after_resume(prompt: str) -> Iterator[None]:
    """Has what is typed stay hidden after Ctrl+Z and `fg`: the shell gives the terminal back with its own echo."""

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
    """A line typed on the terminal; the prompt goes to stderr."""
    click.echo(f"{safe(prompt)}: ", nl=False, err=True)
    line = sys.stdin.readline()
    if not line:
        raise click.exceptions.Abort
    return line.strip()


def confirm(question: str, *, yes: bool) -> None:
    """Asks before a change.

    :raises NeedsConfirmation: there is no terminal, and no `--yes`.
    """
    if yes:
        return
    if not on_terminal():
        raise NeedsConfirmation(
            question, "there is no terminal to confirm it on", "To have it done unasked, add --yes"
        )
    if ask_line(f"{safe(question, MAX_QUESTION_LENGTH)}? [y/N]").lower() not in ("y", "yes"):
        click.echo("Nothing was changed.", err=True)
        raise click.exceptions.Exit(1)


@dataclass
class VaultUnlocker:
    """How a verb may open the vault: by what it was given, else by asking on the terminal, else not at all."""

    service: CredentialService
    passphrase_fd: int | None = None
    recovery_key_fd: int | None = None
    _passphrase: Secret | None = field(default=None, repr=False)
    _recovery_key: Secret | None = field(default=None, repr=False)

    @property
    def has_given_secret(self) -> bool:
        return self.passphrase_fd is not None or self.recovery_key_fd is not None

    def passphrase(self, why: str) -> Secret | None:
        """The vault's passphrase: as given, else typed; None where nobody can be asked."""
        if self._passphrase is None:
            if self.passphrase_fd is not None:
                self._passphrase = from_descriptor(self.passphrase_fd, "passphrase")
            elif on_terminal():
                self._passphrase = ask_secret(why)
        return self._passphrase

    def recovery_key(self) -> Secret:
        """The recovery key on the descriptor that was given, which can be read once."""
        if self._recovery_key is None:
            self._recovery_key = from_descriptor(self.recovery_key_fd or 0, "recovery key")
        return self._recovery_key

    def unlock(self) -> None:
        """Opens the vault.

        :raises NeedsUnlock: nobody can be asked.
        :raises AgentHangs: one is there that does nothing; then nobody is asked either.
        """
        client.require_responsive(self.service.paths.socket)
        if self.recovery_key_fd is not None:
            self.service.unlock(recovery_key=self.recovery_key())
            return
        if self.passphrase_fd is not None:
            self.service.unlock(self.passphrase(""))
            return
        if not on_terminal():
            raise NeedsUnlock(*LOCKED)
        self._unlock_by_prompt()

    def unlock_by_keyring(self) -> None:
        """Opens the vault by the system keyring, or, where that does not open it, by the passphrase if it has one and
        somebody can be asked.

        :raises KeyturnError: the keyring's own refusal, where nobody can be asked.
        """
        try:
            self.service.unlock()
        except (KeyringAbsent, KeyringLocked, KeyringDenied) as error:
            if not on_terminal() or "passphrase" not in self.service.context.vault.slots():
                raise
            click.echo(f"keyturn: {error.line()}", err=True)
            self._unlock_by_prompt()

    def _unlock_by_prompt(self) -> None:
        for tries_left in range(TRIES - 1, -1, -1):
            try:
                self.service.unlock(ask_secret("Passphrase of the keyturn vault"))
            except WrongPassphrase as error:
                if not tries_left:
                    raise
                click.echo(f"keyturn: {error.line()}", err=True)
            else:
                return

    def create_missing_vault(self) -> None:
        """Makes the vault that is not there yet, with a person at the terminal.

        :raises NeedsVault: nobody can be asked.
        """
        if not on_terminal():
            raise NeedsVault(
                "the vault",
                "there is none yet",
                "Run: keyturn vault init --slot keyring, or --slot passphrase",
            )
        backend = self.service.keyring_backend()
        if backend is not None:
            click.echo(f"A vault is needed first. {safe(backend)} can guard it.", err=True)
            create_vault(self.service, "keyring", None)
            return
        click.echo(
            "A vault is needed first. A passphrase will guard it (there is no system keyring to use).",
            err=True,
        )
        create_vault(self.service, "passphrase", ask_new_passphrase())

    def run(self, action: Callable[[], T]) -> T:
        """Does an act; where it needs the vault, opens or makes it and does the act again."""
        try:
            return action()
        except NeedsVault:
            self.create_missing_vault()
        except NeedsUnlock:
            self.unlock()
        return action()

    def run_with_code(self, action: Callable[[str | None], T], code: str | None) -> T:
        """As :meth:`done`, for an act that may need an MFA code: asks for one on the terminal if none was given."""
        try:
            return self.run(lambda: action(code))
        except NeedsMfa as error:
            if code is not None or not on_terminal():
                raise
            typed_code = ask_line(f"MFA code of {error.serial} for {error.profile}")
        return self.run(lambda: action(typed_code))


def ask_new_passphrase() -> Secret:
    """A new passphrase, typed twice.

    :raises UsageError: the two differ, or it is too short.
    """
    first = passphrases.check(ask_secret("New passphrase"))
    if ask_secret("The same once more") != first:
        raise UsageError("passphrase", "the two differ; nothing was made", "Try again")
    return first


def create_vault(
    service: CredentialService, slot: str, passphrase: Secret | None, *, anew: bool = False
) -> None:
    """Makes a vault, shows the recovery key on the terminal and has its last characters typed back."""
    recovery_key = service.create_vault(slot, passphrase, anew=anew)
    click.echo(
        "The recovery key opens the vault if all else is lost. Write it down, off this machine:", err=True
    )
    click.echo(f"\n  {recovery_key.reveal()}\n", err=True)
    for _ in range(TRIES):
        if ask_line("Type its last six characters").upper() == recovery_key.reveal()[-6:].upper():
            service.confirm_recovery_key()
            click.echo("Noted. Anybody with this key can open the vault: clear the screen.", err=True)
            return
    click.echo("That is not what it ends in. See it again by: keyturn vault recovery-key", err=True)
