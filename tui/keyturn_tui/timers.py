"""When the app looks at the clock and at the files."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime
from typing import Any, Protocol

from textual.timer import Timer

#: Seconds between looks at the files.
POLL = 2.0
#: Seconds between ticks while another window has the keyboard.
BLURRED = 5.0


def seconds_until_tick(now: datetime, *, focused: bool) -> float:
    """Until just after the next whole second of the wall clock, so that countdowns turn when the clock does; to the
    next whole five seconds while nobody looks."""
    step = 1.0 if focused else BLURRED
    into = (now.second + now.microsecond / 1_000_000) % step
    return step - into + 0.005


class _Ticked(Protocol):
    @property
    def app_focus(self) -> bool: ...
    @property
    def state(self) -> Any: ...
    def tick(self) -> None: ...
    async def look_if_changed(self) -> None: ...
    def start(self, conversation: Coroutine[Any, Any, Any]) -> None: ...
    def set_timer(self, delay: float, callback: Any) -> Timer: ...
    def set_interval(self, interval: float, callback: Any) -> Timer: ...


class Ticker:
    """One timer for the second, set anew each time as clocks drift and machines sleep, and one for the files."""

    def __init__(self, app: _Ticked) -> None:
        self._app = app
        self._looking = False

    def start(self) -> None:
        """Begin."""
        self._again()
        self._app.set_interval(POLL, self._poll)

    def _again(self) -> None:
        delay = seconds_until_tick(self._app.state.now(), focused=self._app.app_focus)
        self._app.set_timer(delay, self._tick)

    def _tick(self) -> None:
        self._app.tick()
        self._again()

    def _poll(self) -> None:
        if not self._looking:
            self._looking = True
            self._app.start(self._look())

    async def _look(self) -> None:
        try:
            await self._app.look_if_changed()
        finally:
            self._looking = False
