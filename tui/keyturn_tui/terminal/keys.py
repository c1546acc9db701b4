"""Keyboard input, delivered in the order in which it was typed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from textual import events
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers import linux_driver
from textual.widget import Widget

#: Maximum seconds to wait until one widget has handled a key; only a widget that is being removed takes this
#: long.
TIMEOUT = 1.0

TypedEvent = events.Key | events.Paste


class Keyboard:
    """Delivers one key at a time.

    Textual forwards a key to the widget that has the focus at that moment, although the previous key may be
    about to open a dialog or move the focus. Keys of a fast burst would then be lost or taken for commands.

    :param forward: Textual's own handling of a key.
    """

    def __init__(self, app: App[Any], forward: Callable[[TypedEvent], Awaitable[None]]) -> None:
        self._app = app
        self._forward = forward
        self._pending: deque[TypedEvent] = deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """True while a key is still being handled."""
        return self._task is not None and not self._task.done()

    def handle(self, event: TypedEvent) -> None:
        """Queue a key press or paste. Call on the event loop only."""
        self._pending.append(event)
        if not self.busy:
            self._task = asyncio.get_running_loop().create_task(self._dispatch())

    async def _dispatch(self) -> None:
        while self._pending:
            target = self._app.focused or self._app.screen
            await self._forward(self._pending.popleft())
            await self._wait_for_effect(target)

    async def _wait_for_effect(self, target: Widget) -> None:
        """Wait until the key, the messages that it caused and the screen that it opened have been handled."""
        await _wait_until_idle(target)
        for node in (*target.ancestors_with_self, self._app):
            await _wait_until_idle(node)
        screen = None
        while screen is not self._app.screen:
            screen = self._app.screen
            await _wait_until_idle(screen)


async def _wait_until_idle(node: Any) -> None:
    """Wait until `node` has handled all messages in its queue."""
    idle = asyncio.Event()
    if node.call_later(idle.set):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(idle.wait(), TIMEOUT)


class EscapeFirst(XTermParser):
    """Parses Esc followed immediately by a key as two keys, because keyturn binds nothing to Alt, which sends
    the same bytes."""

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:  # noqa: FBT001, FBT002  # Textual's signature
        if alt:
            yield events.Key("escape", "\x1b")
        yield from super()._sequence_to_key_events(sequence)


def install_escape_parser() -> None:
    """Make Textual's driver use :class:`EscapeFirst`. The driver looks its parser up in its own module."""
    setattr(linux_driver, "XTermParser", EscapeFirst)  # noqa: B010  # mypy rejects an assignment to a type's name
