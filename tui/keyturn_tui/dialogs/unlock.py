"""Passphrase dialog: unlocks the vault, or authenticates the user before a long-term secret leaves it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from textual.app import ComposeResult

from keyturn.model.errors import WrongPassphrase
from keyturn.model.secret import Secret
from keyturn_tui.dialogs.base import SLOW_SECONDS, EntryDialog, field_row, key_line
from keyturn_tui.messages import SecretTyped
from keyturn_tui.rendering.profile_cells import Line, paragraph
from keyturn_tui.state import AppState
from keyturn_tui.widgets.fields import SecretField

T = TypeVar("T")


class UnlockScreen(EntryDialog[Secret, T]):
    """Runs an operation with the passphrase. Wrong passphrases are not counted and lock nothing.

    :param requester: the operation that needs the vault, as a noun phrase ("refresh of ci-deploy").
    :param operation: its result is the dialog's result, as is an error other than a wrong passphrase.
    :param why: reason that the passphrase is needed although the vault is unlocked.
    :param cancel: see :class:`EntryDialog`.
    """

    REFUSAL = WrongPassphrase
    WIDTH = 66

    def __init__(
        self,
        state: AppState,
        requester: str,
        operation: Callable[[Secret], T],
        *,
        why: str = "",
        cancel: Callable[[], None] | None = None,
    ) -> None:
        # With a reason it is for a release, which gives keys out of the vault.
        title = "Passphrase" if why else "Unlock the vault"
        super().__init__(state, title, operation, must_finish=bool(why), cancel=cancel)
        self._requester = requester
        self._why = why
        self._seconds = 0
        """Since the operation began."""

    def compose_fields(self) -> ComposeResult:
        yield field_row("Passphrase", SecretField(id="secret"), 44)

    def body(self) -> Sequence[Line]:
        lines = paragraph(f"Needed for: {self._requester}", self.text_width)
        if self._why:
            return [*lines, *paragraph(self._why, self.text_width), ()]
        explanation = "The vault with your long-term keys and sign-ins is locked. You can browse without it."
        return [*lines, *paragraph(explanation, self.text_width, "muted"), ()]

    def keys(self) -> Sequence[Line]:
        """Return the keys, and a note that the field also takes the recovery key."""
        return (
            (("You can also enter the recovery key (AGE-SECRET-KEY-1…).", "muted"),),
            key_line(("Enter", "Unlock" if not self._why else "Continue"), ("Esc", "Cancel")),
        )

    def on_secret_typed(self, message: SecretTyped) -> None:
        message.stop()
        if self.is_busy:
            return
        secret = self.query_one("#secret", SecretField).take()
        if not secret:
            self.set_status("Enter the passphrase.", "soon")
            return
        self.set_status("Unlocking… (takes about a second by design)", "working")
        self._seconds = 0
        self.submit(secret)

    def on_mount(self) -> None:
        super().on_mount()
        self.set_interval(1.0, self._tick)

    def _tick(self) -> None:
        """Show that a busy machine still works on it."""
        if not self.is_busy or self.is_cancelling:
            return
        self._seconds += 1
        if self._seconds >= SLOW_SECONDS:
            note = "" if self._why else " Esc cancels."
            self.set_status(f"Unlocking… {self._seconds} s; this machine is busy or slow.{note}", "working")

    def refuse(self) -> None:
        self.set_status("Wrong passphrase. Try again; attempts are not limited.", "error")
