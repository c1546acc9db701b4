"""One passphrase field: opens the vault, or proves who asks before a long-term secret leaves it."""

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
    """Runs `verb` with what was typed. A wrong passphrase counts nothing down and locks nobody out.

    :param what: who asked, as a clause ("refresh of ci-deploy").
    :param verb: the keeper's command; its result is the dialog's. An error other than a wrong passphrase is too.
    :param why: one more sentence on why it is asked.
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
        """The field."""
        yield field_row("Passphrase", SecretField(id="secret"), 44)

    def body(self) -> Sequence[Line]:
        """What is locked, who asks, and what works without."""
        lines = paragraph(f"Asked by: {self._requester}", self.text_width)
        if self._why:
            return [*lines, *paragraph(self._why, self.text_width), ()]
        explanation = (
            "The vault holds your long-term keys and sign-ins and is locked. Listing works without it."
        )
        return [*lines, *paragraph(explanation, self.text_width, "muted"), ()]

    def keys(self) -> Sequence[Line]:
        """The recovery key goes into the same field."""
        return (
            (("The recovery key (AGE-SECRET-KEY-1…) works here too.", "muted"),),
            key_line(("Enter", "Unlock" if not self._why else "Go on"), ("Esc", "Cancel")),
        )

    def on_secret_typed(self, message: SecretTyped) -> None:
        """Enter."""
        message.stop()
        if self._busy:
            return
        secret = self.query_one("#secret", SecretField).take()
        if not secret:
            self.set_status("Type the passphrase first.", "soon")
            return
        self._busy = True
        self.set_status("Opening… (slow on purpose, about a second)", "working")
        self._unlock(secret)

    @work
    async def _unlock(self, secret: Secret) -> None:
        try:
            result = await self.state.workers.run(partial(self._operation, secret), Queue.DIALOG)
        except WrongPassphrase:
            self.set_status("That does not open it. Try again; nothing is counted.", "error")
        except Exception as error:  # noqa: BLE001  # whoever asked decides, at the boundary of its act
            self.dismiss(error)
        else:
            self.dismiss(result)
        finally:
            self._busy = False
