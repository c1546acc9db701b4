"""The first act that stores something makes the vault: a slot, the recovery key, and proof that it was kept."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from functools import partial
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from keyturn.model.errors import UsageError
from keyturn.model.secret import Secret
from keyturn.vault import passphrase as passphrases
from keyturn_tui.dialogs.base import Dialog, field_row, key_line, paragraph, told
from keyturn_tui.messages import SecretTyped
from keyturn_tui.rendering.profile_cells import Line
from keyturn_tui.state import AppState
from keyturn_tui.widgets.fields import PlainField, SecretField
from keyturn_tui.widgets.styled_lines import StyledLines
from keyturn_tui.workers import Queue

#: How many of the recovery key's last characters are typed back.
PROOF = 6


class Step(Enum):
    """Where the dialog stands."""

    LOOKING = auto()
    CHOOSE = auto()
    FIRST = auto()
    REPEAT = auto()
    MAKING = auto()
    RECOVERY = auto()


class CreateVaultScreen(Dialog[bool]):
    """Closes with True once there is a vault; Esc before that leaves everything as it was."""

    WIDTH = 80
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "keyring", show=False),
        Binding("p", "passphrase", show=False),
    ]
    DEFAULT_CSS = "CreateVaultScreen .hidden { display: none; }"

    def __init__(self, state: AppState) -> None:
        super().__init__(state, "New vault")
        self._step = Step.LOOKING
        self._keyring: str | None = None
        self._first: Secret | None = None
        self._recovery: Secret | None = None

    def parts(self) -> ComposeResult:
        """A field for the passphrase, and one for the proof."""
        yield field_row("Passphrase", SecretField(id="secret"), 48, row_id="secret", classes="hidden")
        yield field_row(f"Last {PROOF}", PlainField(id="proof"), 12, row_id="proof", classes="hidden")

    def on_mount(self) -> None:
        """Look for a keyring first."""
        super().on_mount()
        self._look()

    @work
    async def _look(self) -> None:
        try:
            self._keyring = await self.state.workers.ask(self.state.service.keyring_backend, Queue.PERSON)
        except Exception as error:  # noqa: BLE001  # none that can be used; a passphrase always can
            told(error)
            self._keyring = None
        if self._step is Step.LOOKING:
            self._go(Step.CHOOSE if self._keyring else Step.FIRST)

    def body(self) -> Sequence[Line]:
        """What this step is about."""
        room = self.room
        intro = paragraph(
            "keyturn keeps long-term keys in a vault: a file encrypted with age, on this machine.", room
        )
        match self._step:
            case Step.LOOKING:
                return [*intro, (), *paragraph("Looking for a system keyring…", room, "working")]
            case Step.CHOOSE:
                where = f"the system keyring ({self._keyring}); no question while logged in"
                return [
                    *intro,
                    (),
                    *paragraph("What shall open it?", room, "title"),
                    ((f"  k  {where}", "text"),),
                    (("  p  a passphrase, asked once until the vault is locked", "text"),),
                ]
            case Step.FIRST | Step.REPEAT | Step.MAKING:
                words = "A passphrase opens it, asked once until it is locked. Several words are best."
                none = "No system keyring can be used here. " if self._keyring is None else ""
                return [*intro, (), *paragraph(none + words, room, "muted"), ()]
            case Step.RECOVERY:
                key = self._recovery.reveal() if self._recovery else ""
                return [
                    *paragraph(key, room, "title"),
                    (),
                    *paragraph(
                        "The vault is made. This is its recovery key, the way in if all else is lost.",
                        room,
                    ),
                    *paragraph("Write it down or put it into a password manager, not on this machine.", room),
                    *paragraph(f"To show that you have it, type its last {PROOF} characters.", room),
                    (),
                ]

    def keys(self) -> Sequence[Line]:
        """What can be pressed in this step."""
        match self._step:
            case Step.CHOOSE:
                return (key_line(("k", "Keyring"), ("p", "Passphrase"), ("Esc", "Cancel, make no vault")),)
            case Step.RECOVERY:
                return (key_line(("Enter", "Done"), ("Esc", "Later (keyturn will remind you)")),)
            case Step.FIRST | Step.REPEAT:
                return (key_line(("Enter", "Next"), ("Esc", "Cancel, make no vault")),)
            case _:
                return (key_line(("Esc", "Cancel")) if self._step is Step.LOOKING else (),)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """`k` and `p` are letters everywhere but in the choice."""
        if action in ("keyring", "passphrase") and self._step is not Step.CHOOSE:
            return False
        return super().check_action(action, parameters)

    def action_keyring(self) -> None:
        """Slot `keyring`."""
        self._make("keyring", None)

    def action_passphrase(self) -> None:
        """Slot `passphrase`."""
        self._go(Step.FIRST)

    def action_cancel(self) -> None:
        """Esc: before there is a vault, nothing was done; after, it stays."""
        if self._step is Step.MAKING:
            return
        self._first = None
        self.dismiss(True if self._step is Step.RECOVERY else None)

    def on_secret_typed(self, message: SecretTyped) -> None:
        """Enter in the passphrase field: once, and once again."""
        message.stop()
        typed = self.query_one("#secret", SecretField).take()
        if self._step is Step.FIRST:
            self._begin(typed)
        elif self._step is Step.REPEAT and typed == self._first:
            self._first = None
            self._make("passphrase", typed)
        elif self._step is Step.REPEAT:
            self._first = None
            self._go(Step.FIRST)
            self.status("The two differ. Type it again from the start.", "error")

    def _begin(self, typed: Secret) -> None:
        try:
            self._first = passphrases.check(typed)
        except UsageError as error:
            self.status(f"{error.why.capitalize()}. {error.hint}.", "soon")
        else:
            self._go(Step.REPEAT)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Enter in the proof field."""
        message.stop()
        key = self._recovery.reveal().upper() if self._recovery else ""
        typed = message.value.strip().upper()
        if len(typed) < PROOF or not key.endswith(typed):
            self.status(f"Those are not its last {PROOF} characters.", "error")
            return
        self._recovery = None
        self._proven()

    @work
    async def _make(self, slot: str, passphrase: Secret | None) -> None:
        self._go(Step.MAKING)
        self.status("Making the vault…", "working")
        try:
            make = partial(self.state.service.create_vault, slot, passphrase)
            self._recovery = await self.state.workers.ask(make, Queue.PERSON)
        except Exception as error:  # noqa: BLE001  # the boundary of a dialog's act
            self._go(Step.CHOOSE if self._keyring else Step.FIRST)
            self.status(told(error), "error")
        else:
            self._go(Step.RECOVERY)

    @work
    async def _proven(self) -> None:
        try:
            await self.state.workers.ask(self.state.service.confirm_recovery_key, Queue.PERSON)
        except Exception as error:  # noqa: BLE001  # the vault is there all the same; keyturn will ask again
            told(error)
        self.dismiss(True)  # noqa: FBT003  # the dialog's result: there is a vault

    def _go(self, step: Step) -> None:
        self._step = step
        typing = step in (Step.FIRST, Step.REPEAT)
        self.query_one("#secret-row").set_class(not typing, "hidden")
        self.query_one("#proof-row").set_class(step is not Step.RECOVERY, "hidden")
        label = "Once more" if step is Step.REPEAT else "Passphrase"
        self.query_one("#secret-label", StyledLines).show([((label, "title"),)])
        self.status("")
        self.draw()
        if typing:
            self.set_focus(self.query_one("#secret"))
        elif step is Step.RECOVERY:
            self.set_focus(self.query_one("#proof"))
        else:
            self.set_focus(None)
