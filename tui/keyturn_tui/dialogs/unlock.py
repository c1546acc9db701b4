"""Passphrase dialog: unlocks the vault, or authenticates the user before a long-term secret leaves it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from textual import work
from textual.app import ComposeResult

from keyturn.model.errors import WrongPassphrase
from keyturn.model.secret import Secret
from keyturn_tui.dialogs.base import Dialog, field_row, key_line, paragraph
from keyturn_tui.messages import SecretTyped
from keyturn_tui.rendering.profile_cells import Line
from keyturn_tui.state import AppState
from keyturn_tui.widgets.fields import SecretField
from keyturn_tui.workers import Queue

T = TypeVar("T")


class UnlockScreen(Dialog[T | Exception], Generic[T]):
    """Runs an operation with the passphrase. Wrong passphrases are not counted and lock nothing.

    :param requester: the operation that needs the vault, as a noun phrase ("refresh of ci-deploy").
    :param operation: its result is the dialog's result, as is an error other than a wrong passphrase.
    :param why: reason that the passphrase is needed although the vault is unlocked.
    """

    WIDTH = 66

    def __init__(
        self, state: AppState, requester: str, operation: Callable[[Secret], T], *, why: str = ""
    ) -> None:
        super().__init__(state, "Passphrase" if why else "Unlock the vault")
        self._requester = requester
        self._operation = operation
        self._why = why
        self._busy = False

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
        if self._busy:
            return
        secret = self.query_one("#secret", SecretField).take()
        if not secret:
            self.set_status("Enter the passphrase.", "soon")
            return
        self._busy = True
        self.set_status("Unlocking… (takes about a second by design)", "working")
        self._unlock(secret)

    @work
    async def _unlock(self, secret: Secret) -> None:
        try:
            result = await self.state.workers.run(partial(self._operation, secret), Queue.DIALOG)
        except WrongPassphrase:
            self.set_status("Wrong passphrase. Try again; attempts are not limited.", "error")
        except Exception as error:  # noqa: BLE001  # passed to the caller, which handles it at its own boundary
            self.dismiss(error)
        else:
            self.dismiss(result)
        finally:
            self._busy = False
