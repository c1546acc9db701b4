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
TIMEOUT = 1.0

TypedEvent = events.Key | events.Paste


class _KeyboardApp(Protocol):
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

    def __init__(self, app: _KeyboardApp, forward: Callable[[TypedEvent], Awaitable[None]]) -> None:
        self._app = app
        self._forward = forward
        self._pending: deque[TypedEvent] = deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a key has not had its effect yet."""
        return self._task is not None and not self._task.done()

    def handle(self, event: TypedEvent) -> None:
        """A key was pressed. On the event loop only."""
        self._pending.append(event)
        if not self.busy:
            self._task = asyncio.get_running_loop().create_task(self._dispatch())

    async def _dispatch(self) -> None:
        while self._pending:
            target = self._app.focused or self._app.screen
            await self._forward(self._pending.popleft())
            await self._wait_for_effect(target)

    async def _wait_for_effect(self, target: Widget) -> None:
        """Until the key, the messages that it made on their way up, and the screen that it opened have been dealt with."""
        await _wait_until_idle(target)
        for node in (*target.ancestors_with_self, self._app):
            await _wait_until_idle(node)
        screen = None
        while screen is not self._app.screen:
            screen = self._app.screen
            await _wait_until_idle(screen)


async def _wait_until_idle(node: Any) -> None:
    """Wait until `part` has handled every message that it has by now."""
    idle = asyncio.Event()
    if node.call_later(idle.set):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(idle.wait(), TIMEOUT)


class EscapeFirst(XTermParser):
    """Esc and a key that arrive together are two keys: nothing of ours is bound to Alt, which looks the same."""

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:  # noqa: FBT001, FBT002  # Textual's own signature
        if alt:
            yield events.Key("escape", "\x1b")
        yield from super()._sequence_to_key_events(sequence)


def install_escape_parser() -> None:
    """Has Textual's driver, which names its parser in its module alone, use ours."""
    setattr(linux_driver, "XTermParser", EscapeFirst)  # noqa: B010  # a type may not be assigned to by its name
