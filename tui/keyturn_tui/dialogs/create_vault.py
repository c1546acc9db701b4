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
from keyturn_tui.dialogs.base import Dialog, error_text, field_row, key_line, paragraph
from keyturn_tui.messages import SecretTyped
from keyturn_tui.rendering.profile_cells import Line
from keyturn_tui.state import AppState
from keyturn_tui.widgets.fields import PlainField, SecretField
from keyturn_tui.widgets.styled_lines import StyledLines
from keyturn_tui.workers import Queue

#: How many of the recovery key's last characters are typed back.
PROOF_LENGTH = 6


class Step(Enum):
    """Where the dialog stands."""

    DETECT = auto()
    CHOOSE = auto()
    ENTER = auto()
    REPEAT = auto()
    CREATE = auto()
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
        self._step = Step.DETECT
        self._keyring: str | None = None
        self._first_entry: Secret | None = None
        self._recovery: Secret | None = None

    def compose_fields(self) -> ComposeResult:
        """A field for the passphrase, and one for the proof."""
        yield field_row("Passphrase", SecretField(id="secret"), 48, row_id="secret", classes="hidden")
        yield field_row(f"Last {PROOF_LENGTH}", PlainField(id="proof"), 12, row_id="proof", classes="hidden")

    def on_mount(self) -> None:
        """Look for a keyring first."""
        super().on_mount()
        self._detect_keyring()

    @work
    async def _detect_keyring(self) -> None:
        try:
            self._keyring = await self.state.workers.run(self.state.service.keyring_backend, Queue.DIALOG)
        except Exception as error:  # noqa: BLE001  # none that can be used; a passphrase always can
            error_text(error)
            self._keyring = None
        if self._step is Step.DETECT:
            self._set_step(Step.CHOOSE if self._keyring else Step.ENTER)

    def body(self) -> Sequence[Line]:
        """What this step is about."""
        width = self.text_width
        intro = paragraph(
            "keyturn keeps long-term keys in a vault: a file encrypted with age, on this machine.", width
        )
        match self._step:
            case Step.DETECT:
                return [*intro, (), *paragraph("Looking for a system keyring…", width, "working")]
            case Step.CHOOSE:
                place = f"the system keyring ({self._keyring}); no question while logged in"
                return [
                    *intro,
                    (),
                    *paragraph("What shall open it?", width, "title"),
                    ((f"  k  {place}", "text"),),
                    (("  p  a passphrase, asked once until the vault is locked", "text"),),
                ]
            case Step.ENTER | Step.REPEAT | Step.CREATE:
                explanation = "A passphrase opens it, asked once until it is locked. Several words are best."
                no_keyring = "No system keyring can be used here. " if self._keyring is None else ""
                return [*intro, (), *paragraph(no_keyring + explanation, width, "muted"), ()]
            case Step.RECOVERY:
                key = self._recovery.reveal() if self._recovery else ""
                return [
                    *paragraph(key, width, "title"),
                    (),
                    *paragraph(
                        "The vault is made. This is its recovery key, the way in if all else is lost.",
                        width,
                    ),
                    *paragraph(
                        "Write it down or put it into a password manager, not on this machine.", width
                    ),
                    *paragraph(f"To show that you have it, type its last {PROOF_LENGTH} characters.", width),
                    (),
                ]

    def keys(self) -> Sequence[Line]:
        """What can be pressed in this step."""
        match self._step:
            case Step.CHOOSE:
                return (key_line(("k", "Keyring"), ("p", "Passphrase"), ("Esc", "Cancel, make no vault")),)
            case Step.RECOVERY:
                return (key_line(("Enter", "Done"), ("Esc", "Later (keyturn will remind you)")),)
            case Step.ENTER | Step.REPEAT:
                return (key_line(("Enter", "Next"), ("Esc", "Cancel, make no vault")),)
            case _:
                return (key_line(("Esc", "Cancel")) if self._step is Step.DETECT else (),)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """`k` and `p` are letters everywhere but in the choice."""
        if action in ("keyring", "passphrase") and self._step is not Step.CHOOSE:
            return False
        return super().check_action(action, parameters)

    def action_keyring(self) -> None:
        """Slot `keyring`."""
        self._create("keyring", None)

    def action_passphrase(self) -> None:
        """Slot `passphrase`."""
        self._set_step(Step.ENTER)

    def action_cancel(self) -> None:
        """Esc: before there is a vault, nothing was done; after, it stays."""
        if self._step is Step.CREATE:
            return
        self._first_entry = None
        self.dismiss(True if self._step is Step.RECOVERY else None)

    def on_secret_typed(self, message: SecretTyped) -> None:
        """Enter in the passphrase field: once, and once again."""
        message.stop()
        entered = self.query_one("#secret", SecretField).take()
        if self._step is Step.ENTER:
            self._check_passphrase(entered)
        elif self._step is Step.REPEAT and entered == self._first_entry:
            self._first_entry = None
            self._create("passphrase", entered)
        elif self._step is Step.REPEAT:
            self._first_entry = None
            self._set_step(Step.ENTER)
            self.set_status("The two differ. Type it again from the start.", "error")

    def _check_passphrase(self, entered: Secret) -> None:
        try:
            self._first_entry = passphrases.check(entered)
        except UsageError as error:
            self.set_status(f"{error.why.capitalize()}. {error.hint}.", "soon")
        else:
            self._set_step(Step.REPEAT)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Enter in the proof field."""
        message.stop()
        key = self._recovery.reveal().upper() if self._recovery else ""
        entered = message.value.strip().upper()
        if len(entered) < PROOF_LENGTH or not key.endswith(entered):
            self.set_status(f"Those are not its last {PROOF_LENGTH} characters.", "error")
            return
        self._recovery = None
        self._confirm_recovery_key()

    @work
    async def _create(self, slot: str, passphrase: Secret | None) -> None:
        self._set_step(Step.CREATE)
        self.set_status("Making the vault…", "working")
        try:
            create = partial(self.state.service.create_vault, slot, passphrase)
            self._recovery = await self.state.workers.run(create, Queue.DIALOG)
        except Exception as error:  # noqa: BLE001  # the boundary of a dialog's act
            self._set_step(Step.CHOOSE if self._keyring else Step.ENTER)
            self.set_status(error_text(error), "error")
        else:
            self._set_step(Step.RECOVERY)

    @work
    async def _confirm_recovery_key(self) -> None:
        try:
            await self.state.workers.run(self.state.service.confirm_recovery_key, Queue.DIALOG)
        except Exception as error:  # noqa: BLE001  # the vault is there all the same; keyturn will ask again
            error_text(error)
        self.dismiss(True)  # noqa: FBT003  # the dialog's result: there is a vault

    def _set_step(self, step: Step) -> None:
        self._step = step
        is_typing = step in (Step.ENTER, Step.REPEAT)
        self.query_one("#secret-row").set_class(not is_typing, "hidden")
        self.query_one("#proof-row").set_class(step is not Step.RECOVERY, "hidden")
        label = "Once more" if step is Step.REPEAT else "Passphrase"
        self.query_one("#secret-label", StyledLines).show([((label, "title"),)])
        self.set_status("")
        self.draw()
        if is_typing:
            self.set_focus(self.query_one("#secret"))
        elif step is Step.RECOVERY:
            self.set_focus(self.query_one("#proof"))
        else:
            self.set_focus(None)
