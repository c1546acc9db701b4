"""The app over a service in memory, driven by Textual's pilot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.message import Message
from textual.pilot import Pilot
from textual.screen import Screen

from keyturn_tui.app import KeyturnApp
from keyturn_tui.rendering.profile_rows import Entry
from keyturn_tui.screens.main import MainScreen
from keyturn_tui.terminal.capabilities import Options, terminal_for
from keyturn_tui.widgets.profile_list import ProfileList
from keyturn_tui.widgets.status_line import StatusLine
from tests.tui.memory_service import MemoryService

WIDE, NARROW = (120, 36), (80, 24)
UTF8 = {"LANG": "C.UTF-8", "TERM": "xterm-256color"}


@dataclass
class AppDriver:
    """A running app with the input and output functions of a test."""

    app: KeyturnApp
    pilot: Pilot[None]
    service: MemoryService

    async def press(self, *keys: str) -> None:
        """Press keys, one after another, and wait until the app is idle."""
        for key in keys:
            await self.pilot.press(key)
        await self.settle()

    async def type(self, text: str) -> None:
        """Type characters as fast as a terminal delivers them (the pilot waits long after each key), and wait
        until the app is idle; Enter is `\\r`."""
        await self.strike(text)
        await self.settle()

    async def strike(self, text: str) -> None:
        """Type, and wait until each key has had its effect, whether the app is idle or not."""
        terminal_driver = self.app._driver
        assert terminal_driver is not None
        for ch in text:
            event = events.Key({"\r": "enter", "\x1b": "escape"}.get(ch) or _character_to_key(ch), ch)
            event.set_sender(self.app)
            terminal_driver.send_message(event)
        quiet = 0
        while quiet < 20:  # a key takes a few turns of the loop from the driver's thread to the keyboard
            await asyncio.sleep(0)
            quiet = 0 if self.app.keyboard.busy else quiet + 1

    async def settle(self) -> None:
        """Wait until every command is answered and every answer shown."""
        quiet = 0
        while quiet < 2:
            await self.pilot.pause()
            assert self.app.fault is None, self.app.fault  # an app that has ended answers nothing
            busy = self.app.state.workers.pending or self.app.keyboard.busy
            quiet = 0 if busy else quiet + 1
            await asyncio.sleep(0)

    @property
    def text(self) -> str:
        """Return the whole screen as plain lines."""
        return screen_text(self.app.screen)

    @property
    def main(self) -> MainScreen:
        screen = self.app.screen_stack[0]
        assert isinstance(screen, MainScreen)
        return screen

    @property
    def listing(self) -> ProfileList:
        return self.main.query_one("#list", ProfileList)

    @property
    def selected(self) -> str:
        """Return the name under the cursor."""
        row = self.listing.row
        assert isinstance(row, Entry)
        return row.profile.name

    @property
    def listed_names(self) -> list[str]:
        """Return the listed names in order."""
        return [row.profile.name for row in self.listing.rows if isinstance(row, Entry)]

    @property
    def message(self) -> str:
        return self.main.query_one("#message", StatusLine).plain

    async def go(self, name: str) -> None:
        """Put the cursor on a profile."""
        self.main.select_profile(name)
        await self.settle()
        assert self.selected == name


def screen_text(screen: Screen[object]) -> str:
    """Return the visible text of the screen without colours."""
    strips = screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)


Drive = Callable[..., AbstractAsyncContextManager[AppDriver]]


@pytest.fixture
def drive() -> Drive:
    """Return a function that runs the app over a service at a size; nothing outside the process is
    changed."""

    @asynccontextmanager
    async def run_app(
        service: MemoryService,
        size: tuple[int, int] = WIDE,
        options: Options | None = None,
        environ: dict[str, str] | None = None,
        hook: Callable[[Message], None] | None = None,
    ) -> AsyncIterator[AppDriver]:
        chosen = options or Options()
        app = KeyturnApp(service, chosen, terminal_for(environ or UTF8, chosen))
        async with app.run_test(size=size, message_hook=hook) as pilot:
            driver = AppDriver(app, pilot, service)
            await driver.settle()
            yield driver

    return run_app
