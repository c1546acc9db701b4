"""Keys in the order in which they were typed, each seen by whoever the one before it left in charge."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from textual import events
from textual._xterm_parser import XTermParser
from textual.drivers import linux_driver
from textual.screen import Screen
from textual.widget import Widget

#: Longest wait for one part of the app to take note of a key; only a part that is going away takes so long.
PATIENCE = 1.0

Typed = events.Key | events.Paste


class _Typist(Protocol):
    @property
    def screen(self) -> Screen[Any]: ...
    @property
    def focused(self) -> Widget | None: ...
    def call_later(self, callback: Callable[[], object]) -> bool: ...


class Keyboard:
    """Hands out one key at a time.

    Textual forwards a key to whatever has the focus at that instant, while the key before may still be about to open a
    dialog or to move the focus: of what is typed in a burst, a part would go astray, or be taken for commands.

    :param give: what Textual itself does with a key.
    """

    def __init__(self, app: _Typist, give: Callable[[Typed], Awaitable[None]]) -> None:
        self._app = app
        self._give = give
        self._typed: deque[Typed] = deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a key has not had its effect yet."""
        return self._task is not None and not self._task.done()

    def take(self, event: Typed) -> None:
        """A key was pressed. On the event loop only."""
        self._typed.append(event)
        if not self.busy:
            self._task = asyncio.get_running_loop().create_task(self._hand_out())

    async def _hand_out(self) -> None:
        while self._typed:
            whom = self._app.focused or self._app.screen
            await self._give(self._typed.popleft())
            await self._take_effect(whom)

    async def _take_effect(self, whom: Widget) -> None:
        """Until the key, the messages that it made on their way up, and the screen that it opened have been dealt with."""
        await _dealt_with(whom)
        for part in (*whom.ancestors_with_self, self._app):
            await _dealt_with(part)
        screen = None
        while screen is not self._app.screen:
            screen = self._app.screen
            await _dealt_with(screen)


async def _dealt_with(part: Any) -> None:
    """Wait until `part` has handled every message that it has by now."""
    handled = asyncio.Event()
    if part.call_later(handled.set):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(handled.wait(), PATIENCE)


class EscapeFirst(XTermParser):
    """Esc and a key that arrive together are two keys: nothing of ours is bound to Alt, which looks the same."""

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:  # noqa: FBT001, FBT002  # Textual's own signature
        if alt:
            yield events.Key("escape", "\x1b")
        yield from super()._sequence_to_key_events(sequence)


def read_escape_apart() -> None:
    """Has Textual's driver, which names its parser in its module alone, use ours."""
    setattr(linux_driver, "XTermParser", EscapeFirst)  # noqa: B010  # a type may not be assigned to by its name
