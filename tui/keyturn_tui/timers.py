"""Timers for the clock and for polling the files."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime
from typing import Any, Protocol

from textual.timer import Timer

#: Seconds between polls of the files.
POLL_INTERVAL = 2.0
#: Seconds between ticks while the terminal does not have the focus.
BLURRED_INTERVAL = 5.0


def seconds_until_tick(now: datetime, *, focused: bool) -> float:
    """Return the seconds until just after the next full second, so that countdowns change with the clock;
    without focus, until the next multiple of `BLURRED_INTERVAL`."""
    step = 1.0 if focused else BLURRED_INTERVAL
    elapsed = (now.second + now.microsecond / 1_000_000) % step
    return step - elapsed + 0.005


class _TickingApp(Protocol):
    @property
    def app_focus(self) -> bool: ...
    @property
    def state(self) -> Any: ...
    def tick(self) -> None: ...
    async def reload_if_changed(self) -> None: ...
    def start(self, conversation: Coroutine[Any, Any, Any]) -> None: ...
    def set_timer(self, delay: float, callback: Any) -> Timer: ...
    def set_interval(self, interval: float, callback: Any) -> Timer: ...


class Ticker:
    """A timer for the second, set again each time because clocks drift and machines sleep, and a timer for
    the files."""

    def __init__(self, app: _TickingApp) -> None:
        self._app = app
        self._is_polling = False

    def start(self) -> None:
        self._schedule()
        self._app.set_interval(POLL_INTERVAL, self._poll)

    def _schedule(self) -> None:
        delay = seconds_until_tick(self._app.state.now(), focused=self._app.app_focus)
        self._app.set_timer(delay, self._tick)

    def _tick(self) -> None:
        self._app.tick()
        self._schedule()

    def _poll(self) -> None:
        if not self._is_polling:
            self._is_polling = True
            self._app.start(self._reload())

    async def _reload(self) -> None:
        try:
            await self._app.reload_if_changed()
        finally:
            self._is_polling = False
