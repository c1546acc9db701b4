"""Dialog that creates the vault: choose a slot, show the recovery key, verify that the user saved it."""

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
from keyturn_tui.dialogs.base import SLOW_SECONDS, Dialog, error_text, field_row, key_line
from keyturn_tui.messages import SecretTyped
from keyturn_tui.rendering.profile_cells import Line, paragraph
from keyturn_tui.state import AppState
from keyturn_tui.widgets.fields import PlainField, SecretField
from keyturn_tui.widgets.styled_lines import StyledLines
from keyturn_tui.workers import Queue

#: Number of characters of the recovery key that the user types back.
PROOF_LENGTH = 6


class Step(Enum):
    """Steps of the dialog."""

    DETECT = auto()
    CHOOSE = auto()
    ENTER = auto()
    REPEAT = auto()
    CREATE = auto()
    RECOVERY = auto()


class CreateVaultScreen(Dialog[bool]):
    """Closes with True after the vault was created. Esc before that changes nothing."""

    WIDTH = 80
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "keyring", show=False),
        Binding("p", "passphrase", show=False),
    ]
    DEFAULT_CSS = "CreateVaultScreen .hidden { display: none; }"

    def __init__(self, state: AppState) -> None:
        super().__init__(state, "Create vault")
        self._step = Step.DETECT
        self._keyring: str | None = None
        self._first_entry: Secret | None = None
        self._recovery: Secret | None = None
        self._seconds = 0
        """Since the creation began."""

    def compose_fields(self) -> ComposeResult:
        """Yield the passphrase field and the field for the last characters of the recovery key."""
        yield field_row("Passphrase", SecretField(id="secret"), 48, row_id="secret", classes="hidden")
        yield field_row(f"Last {PROOF_LENGTH}", PlainField(id="proof"), 12, row_id="proof", classes="hidden")

    def on_mount(self) -> None:
        self._detect_keyring()
        self.set_interval(1.0, self._tick)

    def _tick(self) -> None:
        """Show that a busy machine still works on it."""
        if self._step is Step.CREATE:
            self._seconds += 1
            if self._seconds >= SLOW_SECONDS:
                text = f"Creating the vault… {self._seconds} s; this machine is busy or slow."
                self.set_status(text, "working")

    @work
    async def _detect_keyring(self) -> None:
        try:
            self._keyring = await self.state.workers.run(self.state.service.keyring_backend, Queue.DIALOG)
        except Exception as error:  # noqa: BLE001  # no usable keyring; a passphrase always works
            error_text(error)
        if self._step is Step.DETECT:
            self._set_step(Step.CHOOSE if self._keyring else Step.ENTER)

    def body(self) -> Sequence[Line]:
        width = self.text_width
        intro = paragraph(
            "keyturn stores long-term keys in a vault, an age-encrypted file on this machine.", width
        )
        match self._step:
            case Step.DETECT:
                return [*intro, (), *paragraph("Looking for a system keyring…", width, "working")]
            case Step.CHOOSE:
                place = f"System keyring ({self._keyring}); no prompt while logged in"
                return [
                    *intro,
                    (),
                    *paragraph("How do you want to unlock it?", width, "title"),
                    ((f"  k  {place}", "text"),),
                    (("  p  Passphrase; asked for once, until the vault is locked", "text"),),
                ]
            case Step.ENTER | Step.REPEAT | Step.CREATE:
                explanation = "A passphrase unlocks it, asked for once until it is locked. Use several words."
                no_keyring = "No system keyring is available. " if self._keyring is None else ""
                return [*intro, (), *paragraph(no_keyring + explanation, width, "muted"), ()]
            case Step.RECOVERY:
                key = self._recovery.reveal() if self._recovery else ""
                return [
                    *paragraph(key, width, "title"),
                    (),
                    *paragraph(
                        "Vault created. This is its recovery key, which unlocks it if all else is lost.",
                        width,
                    ),
                    *paragraph(
                        "Write it down or store it in a password manager, not on this machine.", width
                    ),
                    *paragraph(
                        f"To confirm that you saved it, type its last {PROOF_LENGTH} characters.", width
                    ),
                    (),
                ]

    def keys(self) -> Sequence[Line]:
        cancel = ("Esc", "Cancel, create no vault")
        keys = {
            Step.DETECT: (("Esc", "Cancel"),),
            Step.CHOOSE: (("k", "Keyring"), ("p", "Passphrase"), cancel),
            Step.ENTER: (("Enter", "Next"), cancel),
            Step.REPEAT: (("Enter", "Next"), cancel),
            Step.CREATE: (),
            Step.RECOVERY: (("Enter", "Done"), ("Esc", "Later (keyturn will remind you)")),
        }[self._step]
        return (key_line(*keys),)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Treat `k` and `p` as text, except in the choice of a slot."""
        if action in ("keyring", "passphrase") and self._step is not Step.CHOOSE:
            return False
        return super().check_action(action, parameters)

    def action_keyring(self) -> None:
        self._create("keyring", None)

    def action_passphrase(self) -> None:
        self._set_step(Step.ENTER)

    def action_cancel(self) -> None:
        """Close the dialog. A vault that was already created stays."""
        if self._step is Step.CREATE:
            return
        self._first_entry = None
        self.dismiss(True if self._step is Step.RECOVERY else None)

    def on_secret_typed(self, message: SecretTyped) -> None:
        """Take the passphrase, then its repetition."""
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
            self.set_status("Passphrases don't match. Try again.", "error")

    def _check_passphrase(self, entered: Secret) -> None:
        try:
            self._first_entry = passphrases.check(entered)
        except UsageError as error:
            self.set_status(f"{error.why.capitalize()}. {error.hint}.", "soon")
        else:
            self._set_step(Step.REPEAT)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Check the last characters of the recovery key."""
        message.stop()
        key = self._recovery.reveal().upper() if self._recovery else ""
        entered = message.value.strip().upper()
        if len(entered) < PROOF_LENGTH or not key.endswith(entered):
            self.set_status(f"These are not its last {PROOF_LENGTH} characters.", "error")
            return
        self._recovery = None
        self._confirm_recovery_key()

    @work
    async def _create(self, slot: str, passphrase: Secret | None) -> None:
        self._set_step(Step.CREATE)
        self._seconds = 0
        self.set_status("Creating the vault…", "working")
        try:
            create = partial(self.state.service.create_vault, slot, passphrase)
            self._recovery = await self.state.workers.run(create, Queue.DIALOG)
        except Exception as error:  # noqa: BLE001  # boundary of the dialog's operation
            self._set_step(Step.CHOOSE if self._keyring else Step.ENTER)
            self.set_status(error_text(error), "error")
        else:
            self._set_step(Step.RECOVERY)

    @work
    async def _confirm_recovery_key(self) -> None:
        try:
            await self.state.workers.run(self.state.service.confirm_recovery_key, Queue.DIALOG)
        except Exception as error:  # noqa: BLE001  # the vault exists; keyturn asks for the recovery key again later
            error_text(error)
        self.dismiss(True)  # noqa: FBT003  # the dialog's result: the vault exists

    def _set_step(self, step: Step) -> None:
        self._step = step
        field = {Step.ENTER: "secret", Step.REPEAT: "secret", Step.RECOVERY: "proof"}.get(step)
        for name in ("secret", "proof"):
            self.query_one(f"#{name}-row").set_class(name != field, "hidden")
        label = "Repeat" if step is Step.REPEAT else "Passphrase"
        self.query_one("#secret-label", StyledLines).show([((label, "title"),)])
        self.set_status("")
        self.set_focus(self.query_one(f"#{field}") if field else None)
