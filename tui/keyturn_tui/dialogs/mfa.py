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
from keyturn_tui.dialogs.base import Dialog, facts, field_row, key_line
from keyturn_tui.messages import CodeComplete
from keyturn_tui.rendering.profile_cells import Line
from keyturn_tui.state import AppState, UsedCode
from keyturn_tui.widgets.fields import CodeField
from keyturn_tui.workers import Queue

T = TypeVar("T")

#: Seconds that a TOTP code is shown by a device (RFC 6238, as AWS uses it).
WINDOW = 30
#: After this many refused codes the dialog closes: AWS throttles, and somebody may be at the wrong device.
TRIES = 3


def seconds_to_next(now: datetime) -> int:
    """Seconds until devices show another code."""
    return WINDOW - int(now.timestamp()) % WINDOW


def used_note(used: UsedCode | None, now: datetime) -> str:
    """Whether the code that devices show now is used up, as a sentence, else empty."""
    if used is None or int(used.at.timestamp()) // WINDOW != int(now.timestamp()) // WINDOW:
        return ""
    ago = int((now - used.at).total_seconds())
    return f"The last code was used {ago} s ago: wait for a new one ({seconds_to_next(now)} s)."


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
        act: Callable[[str], T],
        *,
        lane: Queue = Queue.ASK,
        purpose: str = "",
    ) -> None:
        super().__init__(state, f"MFA code for {need.profile}")
        self._need = need
        self._act = act
        self._lane = lane
        self._for = purpose
        self._tries = 0
        self._busy = False
        self._saying: Callable[[datetime], tuple[str, str]] = self._waiting

    def on_mount(self) -> None:
        """The wait counts down."""
        super().on_mount()
        self._tick()
        self.set_interval(1.0, self._tick)

    def parts(self) -> ComposeResult:
        """The field."""
        yield field_row("Code", CodeField(id="code"), 7)

    def body(self) -> Sequence[Line]:
        """Which device, and what for."""
        name = self._need.profile
        profile = self.state.profile(name)
        pairs = [("Device", self._need.serial or (profile.mfa_serial if profile else "") or "unknown")]
        pairs.append(("For", self._for or self._purpose(profile)))
        snapshot = self.state.snapshot
        same = [p for p in (snapshot.profiles if snapshot else ()) if p.mfa_serial == self._need.serial]
        others = len([p for p in same if p.name != name])
        if others:
            pairs.append(("Also for", f"{others} other profile{'s' if others > 1 else ''} with this device"))
        if snapshot is not None and snapshot.sandbox:
            device = (self._need.serial or "").rpartition("/")[2] or "DEVICE"
            pairs.append(("Sandbox", f"{snapshot.sandbox}; python -m keyturn_sandbox totp {device}"))
        return [*facts(pairs, self.room, 12), ()]

    def keys(self) -> Sequence[Line]:
        """No Enter is needed."""
        return (key_line(("0-9", "Type the six digits; sent on the sixth"), ("Esc", "Cancel")),)

    def on_code_complete(self, message: CodeComplete) -> None:
        """The sixth digit."""
        message.stop()
        if self._busy:
            return
        code = self.query_one("#code", CodeField).take()
        used = self.state.used_codes.get(self._need.serial)
        if used is not None and used.code == code:
            self._say(_used_already)
            return
        self._busy = True
        self._say(lambda _now: ("Asking AWS…", "working"))
        self._send(code)

    @work
    async def _send(self, code: str) -> None:
        try:
            done = await self.state.workers.ask(partial(self._act, code), self._lane, self._need.what)
        except WrongMfaCode:
            self._refused()
        except Exception as error:  # noqa: BLE001  # whoever asked decides, at the boundary of its act
            self.dismiss(error)
        else:
            self.state.used_codes[self._need.serial] = UsedCode(code, self.state.now())
            self.dismiss(done)
        finally:
            self._busy = False

    def _refused(self) -> None:
        self._tries += 1
        if self._tries >= TRIES:
            why = f"{TRIES} codes were refused"
            self.dismiss(
                WrongMfaCode(self._need.what, why, "Check the device and its clock, then try again.")
            )
            return
        at = self.state.now()
        self._say(lambda now: _refused_words(at, now))

    def _say(self, saying: Callable[[datetime], tuple[str, str]]) -> None:
        """From now on this stands under the field, as it reads at each moment."""
        self._saying = saying
        self._tick()

    def _waiting(self, now: datetime) -> tuple[str, str]:
        return used_note(self.state.used_codes.get(self._need.serial), now), "soon"

    def _tick(self) -> None:
        text, role = self._saying(self.state.now())
        self.status(text, role)

    def _purpose(self, profile: Profile | None) -> str:
        if profile is None:
            return "a new session"
        length = profile.duration_seconds
        from_key = not profile.chain and profile.kind.value == "iam-key"
        hours = length or (12 * 3600 if from_key else 3600)
        same = self.state.snapshot.profiles if self.state.snapshot else ()
        others = sum(p.source == profile.name and p.name != profile.name and not p.mfa_serial for p in same)
        who = f"{others} other profile{'s' if others > 1 else ''} may use" if others else ""
        return f"a session of {span_of(hours)}" + (f", which {who}" if others else "")


def _used_already(now: datetime) -> tuple[str, str]:
    return f"That code was used already: wait for a new one ({seconds_to_next(now)} s).", "soon"


def _refused_words(at: datetime, now: datetime) -> tuple[str, str]:
    """For a code that was refused at `at`: how long until devices show another, or that they do by now."""
    if int(at.timestamp()) // WINDOW == int(now.timestamp()) // WINDOW:
        return f"Refused: wrong, old or used. The next code comes in {seconds_to_next(now)} s.", "error"
    return "Refused: wrong, old or used. There is a new code now.", "error"


def span_of(seconds: int) -> str:
    """A length in words."""
    return span(timedelta(seconds=seconds))
