"""Six digits from an MFA device: sent on the sixth, and a used code is not sent twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Generic, TypeVar

from textual import work
from textual.app import ComposeResult

from keyturn.model.errors import NeedsMfa, WrongMfaCode
from keyturn.model.profile import Profile
from keyturn.model.text import span
from keyturn_tui.dialogs.base import Dialog, fact_lines, field_row, key_line
from keyturn_tui.messages import CodeComplete
from keyturn_tui.rendering.profile_cells import Line
from keyturn_tui.state import AppState, UsedCode
from keyturn_tui.widgets.fields import CodeField
from keyturn_tui.workers import Queue

T = TypeVar("T")

#: Seconds that a TOTP code is shown by a device (RFC 6238, as AWS uses it).
WINDOW = 30
#: After this many refused codes the dialog closes: AWS throttles, and somebody may be at the wrong device.
MAX_ATTEMPTS = 3


def seconds_to_next(now: datetime) -> int:
    """Seconds until devices show another code."""
    return WINDOW - int(now.timestamp()) % WINDOW


def used_code_note(used_code: UsedCode | None, now: datetime) -> str:
    """Whether the code that devices show now is used up, as a sentence, else empty."""
    if used_code is None or int(used_code.at.timestamp()) // WINDOW != int(now.timestamp()) // WINDOW:
        return ""
    seconds_ago = int((now - used_code.at).total_seconds())
    return f"The last code was used {seconds_ago} s ago: wait for a new one ({seconds_to_next(now)} s)."


class MfaScreen(Dialog[T | Exception], Generic[T]):
    """Asks for a code and does an act with it. Closes with what that gave, with the error that ended it, or with None.

    :param act: takes the code; a refresh of the profile is what it usually does.
    :param lane: where the act runs.
    :param purpose: what the code is for, where that is no session of the profile.
    """

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
        super().__init__(state, f"MFA code for {need.profile}")
        self._need = need
        self._operation = operation
        self._queue = queue
        self._purpose = purpose
        self._attempts = 0
        self._busy = False
        self._status_source: Callable[[datetime], tuple[str, str]] = self._idle_status

    def on_mount(self) -> None:
        """The wait counts down."""
        super().on_mount()
        self._tick()
        self.set_interval(1.0, self._tick)

    def compose_fields(self) -> ComposeResult:
        """The field."""
        yield field_row("Code", CodeField(id="code"), 7)

    def body(self) -> Sequence[Line]:
        """Which device, and what for."""
        name = self._need.profile
        profile = self.state.profile(name)
        pairs = [("Device", self._need.serial or (profile.mfa_serial if profile else "") or "unknown")]
        pairs.append(("For", self._purpose or self._purpose_text(profile)))
        snapshot = self.state.snapshot
        same = [p for p in (snapshot.profiles if snapshot else ()) if p.mfa_serial == self._need.serial]
        others = len([p for p in same if p.name != name])
        if others:
            pairs.append(("Also for", f"{others} other profile{'s' if others > 1 else ''} with this device"))
        if snapshot is not None and snapshot.sandbox:
            device = (self._need.serial or "").rpartition("/")[2] or "DEVICE"
            pairs.append(("Sandbox", f"{snapshot.sandbox}; python -m keyturn_sandbox totp {device}"))
        return [*fact_lines(pairs, self.text_width, 12), ()]

    def keys(self) -> Sequence[Line]:
        """No Enter is needed."""
        return (key_line(("0-9", "Type the six digits; sent on the sixth"), ("Esc", "Cancel")),)

    def on_code_complete(self, message: CodeComplete) -> None:
        """The sixth digit."""
        message.stop()
        if self._busy:
            return
        code = self.query_one("#code", CodeField).take()
        used_code = self.state.used_codes.get(self._need.serial)
        if used_code is not None and used_code.code == code:
            self._set_status_source(_reused_code_status)
            return
        self._busy = True
        self._set_status_source(lambda _now: ("Asking AWS…", "working"))
        self._send(code)

    @work
    async def _send(self, code: str) -> None:
        try:
            result = await self.state.workers.run(
                partial(self._operation, code), self._queue, self._need.what
            )
        except WrongMfaCode:
            self._handle_refusal()
        except Exception as error:  # noqa: BLE001  # whoever asked decides, at the boundary of its act
            self.dismiss(error)
        else:
            self.state.used_codes[self._need.serial] = UsedCode(code, self.state.now())
            self.dismiss(result)
        finally:
            self._busy = False

    def _handle_refusal(self) -> None:
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
        """From now on this stands under the field, as it reads at each moment."""
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
        duration = profile.duration_seconds
        from_key = not profile.chain and profile.kind.value == "iam-key"
        seconds = duration or (12 * 3600 if from_key else 3600)
        profiles = self.state.snapshot.profiles if self.state.snapshot else ()
        others = sum(
            p.source == profile.name and p.name != profile.name and not p.mfa_serial for p in profiles
        )
        shared_text = f"{others} other profile{'s' if others > 1 else ''} may use" if others else ""
        return f"a session of {span_of(seconds)}" + (f", which {shared_text}" if others else "")


def _reused_code_status(now: datetime) -> tuple[str, str]:
    return f"That code was used already: wait for a new one ({seconds_to_next(now)} s).", "soon"


def _refused_status(refused_at: datetime, now: datetime) -> tuple[str, str]:
    """For a code that was refused at `at`: how long until devices show another, or that they do by now."""
    if int(refused_at.timestamp()) // WINDOW == int(now.timestamp()) // WINDOW:
        return f"Refused: wrong, old or used. The next code comes in {seconds_to_next(now)} s.", "error"
    return "Refused: wrong, old or used. There is a new code now.", "error"


def span_of(seconds: int) -> str:
    """A length in words."""
    return span(timedelta(seconds=seconds))
