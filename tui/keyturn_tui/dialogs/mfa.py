"""Dialog for a six-digit MFA code. It is sent after the sixth digit; a used code is not sent again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from textual.app import ComposeResult

from keyturn.model.errors import NeedsMfa, WrongMfaCode
from keyturn.model.profile import Profile, Snapshot, VaultState
from keyturn.model.text import span
from keyturn_tui.dialogs.base import EntryDialog, fact_lines, field_row, key_line
from keyturn_tui.messages import CodeComplete
from keyturn_tui.rendering.profile_cells import Line
from keyturn_tui.state import AppState, UsedCode
from keyturn_tui.widgets.fields import CodeField
from keyturn_tui.workers import Queue

T = TypeVar("T")

#: Lifetime of a TOTP code in seconds (RFC 6238, as AWS uses it).
WINDOW = 30
#: Refused codes until the dialog closes, because AWS throttles and the device may be the wrong one.
MAX_ATTEMPTS = 3


def seconds_to_next(now: datetime) -> int:
    """Return the seconds until the device shows the next code."""
    return WINDOW - int(now.timestamp()) % WINDOW


def used_code_note(used_code: UsedCode | None, now: datetime) -> str:
    """Return a note if the code that the device shows now was already used, else an empty string."""
    if used_code is None or int(used_code.at.timestamp()) // WINDOW != int(now.timestamp()) // WINDOW:
        return ""
    seconds_ago = int((now - used_code.at).total_seconds())
    return f"The last code was used {seconds_ago} s ago. Wait for the next one ({seconds_to_next(now)} s)."


class MfaScreen(EntryDialog[str, T]):
    """Asks for a code and runs an operation with it.

    :param purpose: use of the code, if it is not for a session of the profile.
    """

    REFUSAL = WrongMfaCode
    WIDTH = 66

    def __init__(
        self,
        state: AppState,
        need: NeedsMfa,
        operation: Callable[[str], T],
        *,
        queue: Queue = Queue.AWS,
        purpose: str = "",
    ) -> None:
        super().__init__(state, f"MFA code for {need.profile}", operation, queue)
        self._need = need
        self._purpose = purpose
        self._attempts = 0
        self._status_source: Callable[[datetime], tuple[str, str]] = self._idle_status

    def on_mount(self) -> None:
        """Count down while the user waits for the next code."""
        self._tick()
        self.set_interval(1.0, self._tick)

    def compose_fields(self) -> ComposeResult:
        yield field_row("Code", CodeField(id="code"), 7)

    def body(self) -> Sequence[Line]:
        """Return the device and the purpose."""
        name = self._need.profile
        profile = self.state.profile(name)
        pairs = [("Device", self._need.serial or (profile.mfa_serial if profile else "") or "unknown")]
        pairs.append(("For", self._purpose or self._purpose_text(profile)))
        snapshot = self.state.snapshot
        others = 0 if self._purpose else count_served(name, snapshot)
        if others:
            pairs.append(("Also for", f"{others} other profile{'s' if others > 1 else ''} of this user"))
        if snapshot is not None and snapshot.sandbox:
            device = (self._need.serial or "").rpartition("/")[2] or "DEVICE"
            pairs.append(("Sandbox", f"{snapshot.sandbox}; python -m keyturn_sandbox totp {device}"))
        return [*fact_lines(pairs, self.text_width, 12), ()]

    def keys(self) -> Sequence[Line]:
        return (key_line(("0-9", "Type the six digits (sent automatically)"), ("Esc", "Cancel")),)

    def on_code_complete(self, message: CodeComplete) -> None:
        """Send the code after the sixth digit."""
        message.stop()
        if self.is_busy:
            return
        code = self.query_one("#code", CodeField).take()
        used_code = self.state.used_codes.get(self._need.serial)
        if used_code is not None and used_code.code == code:
            self._set_status_source(_reused_code_status)
            return
        self._set_status_source(lambda _now: ("Waiting for AWS…", "working"))
        self.submit(code, self._need.what)

    def accept(self, entry: str) -> None:
        """Remember the code, because it works only once."""
        self.state.used_codes[self._need.serial] = UsedCode(entry, self.state.now())

    def refuse(self) -> None:
        """Ask for another code, but only a few times."""
        self._attempts += 1
        if self._attempts >= MAX_ATTEMPTS:
            reason = f"{MAX_ATTEMPTS} codes were refused"
            self.dismiss(
                WrongMfaCode(self._need.what, reason, "Check the device and its clock, then try again.")
            )
            return
        refused_at = self.state.now()
        self._set_status_source(lambda now: _refused_status(refused_at, now))

    def _set_status_source(self, status_source: Callable[[datetime], tuple[str, str]]) -> None:
        """Show a status that is computed again every second."""
        self._status_source = status_source
        self._tick()

    def _idle_status(self, now: datetime) -> tuple[str, str]:
        return used_code_note(self.state.used_codes.get(self._need.serial), now), "soon"

    def _tick(self) -> None:
        text, role = self._status_source(self.state.now())
        self.set_status(text, role)

    def _purpose_text(self, profile: Profile | None) -> str:
        if profile is None:
            return "a new session"
        from_key = not profile.chain and profile.kind == "iam-key"
        seconds = profile.duration_seconds or (12 * 3600 if from_key else 3600)
        return f"a {span(timedelta(seconds=seconds))} session"


def count_served(name: str, snapshot: Snapshot | None) -> int:
    """Return how many other profiles a code for `name` serves, so that they will not ask for one.

    The MFA session that it makes is kept in the open vault.
    """
    if snapshot is None or snapshot.vault is not VaultState.OPEN:
        return 0
    session = next((row.mfa_session for row in snapshot.profiles if row.name == name), None)
    return sum(
        row.mfa_session == session and row.name != name for row in snapshot.profiles if session is not None
    )


def _reused_code_status(now: datetime) -> tuple[str, str]:
    return f"This code was already used. Wait for the next one ({seconds_to_next(now)} s).", "soon"


def _refused_status(refused_at: datetime, now: datetime) -> tuple[str, str]:
    """Return the status after a code was refused, with the seconds until the next code."""
    if int(refused_at.timestamp()) // WINDOW == int(now.timestamp()) // WINDOW:
        return f"Code refused (wrong, expired or used). Next code in {seconds_to_next(now)} s.", "error"
    return "Code refused (wrong, expired or used). A new code is ready.", "error"
