"""The app as its conversations see it: dialogs, the message line, the palette, the colours."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from textual.app import App
from textual.command import CommandPalette
from textual.screen import Screen
from textual.widgets import Input

from keyturn import log
from keyturn.text import safe
from keyturn_tui import theme
from keyturn_tui.desk import Desk
from keyturn_tui.discreet import Discreet
from keyturn_tui.screens.action_screen import ActionScreen
from keyturn_tui.screens.main import MainScreen

T = TypeVar("T")


class Palette(CommandPalette):
    """Textual's own, whose cursor does not blink: that would send a kilobyte a second over the line."""

    def on_mount(self) -> None:
        """Once its field is there."""
        self.query_one(Input).cursor_blink = False


class Stage(Discreet, inherit_bindings=False):
    """Is the `front.Front` of acts and screens, but for taking snapshots."""

    desk: Desk

    async def ask_person(self, screen: Screen[T]) -> T | None:
        """See `acts.Front`."""
        return await self.push_screen_wait(screen)

    def start(self, conversation: Coroutine[Any, Any, Any]) -> None:
        """See `acts.Front`."""
        self.run_worker(self._guarded(conversation))

    def say(self, text: str, role: str = "text") -> None:
        """See `acts.Front`."""
        for screen in self._action_screens():
            screen.show_message(text, role)

    def redraw(self) -> None:
        """See `acts.Front`."""
        for screen in self._action_screens():
            screen.redraw()

    def tick(self) -> None:
        """A second has passed. Only the screen that is on top shows it: what changes below a dialog would have all of the
        terminal sent anew, each second."""
        for screen in self._action_screens()[-1:]:
            if screen is self.screen_stack[-1]:
                screen.tick()

    def own_fault(self, what: str, error: Exception) -> None:
        """See `acts.Front`."""
        log.unforeseen(error)
        self.say(
            f"{safe(what)}: a fault of keyturn itself ({type(error).__name__}); keyturn.log says where.",
            "error",
        )

    async def _guarded(self, conversation: Coroutine[Any, Any, Any]) -> None:
        """No fault of one conversation ends the others with the app."""
        try:
            await conversation
        except Exception as error:  # noqa: BLE001  # the outermost boundary of what goes on beside the keyboard
            if self.is_running:  # else the screen that it would draw on is being taken down
                self.own_fault("what goes on behind the screen", error)

    def open_palette(self) -> None:
        """See `acts.Front`."""
        if not CommandPalette.is_open(cast("App[object]", self)):
            self.push_screen(Palette(id="palette", placeholder="Find an action or a profile"))

    def next_theme(self) -> None:
        """See `acts.Front`."""
        names = theme.THEME_NAMES
        if self.desk.terminal.no_color:
            self.say("NO_COLOR is set: the terminal's own two colours are used.", "soon")
            return
        self.theme = names[(names.index(self.theme) + 1) % len(names)]
        self.say(f"Theme {self.theme}.")

    def action_quit_hint(self) -> None:
        """ctrl+c ends most programs; here one key too many should not end a refresh."""
        self.say("Press q to leave.")

    def run_action_id(self, action_id: str) -> None:
        """Run an action of the registry on the screen that has them."""
        screen = self.screen
        if isinstance(screen, ActionScreen):
            screen.run_held(action_id)

    def go_to(self, name: str) -> None:
        """Put the cursor on a profile."""
        for screen in self._action_screens():
            if isinstance(screen, MainScreen):
                screen.choose(name)

    def _action_screens(self) -> list[ActionScreen]:
        """Those that can be drawn; one that is being closed has lost its widgets already."""
        return [
            screen
            for screen in self.screen_stack
            if isinstance(screen, ActionScreen) and screen.is_mounted and screen.children
        ]
