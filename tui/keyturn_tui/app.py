"""The app: screens over one keeper. It routes messages and keeps time; what acts do is in `acts`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, cast

from textual.app import App
from textual.binding import Binding, BindingType
from textual.command import CommandPalette, Provider
from textual.filter import LineFilter
from textual.screen import Screen

from keyturn import log
from keyturn.errors import KeyturnError
from keyturn.model import Snapshot
from keyturn.text import safe
from keyturn_tui import theme
from keyturn_tui.acts import Acts
from keyturn_tui.bridge import Bridge, KeeperPort, Lane
from keyturn_tui.desk import Desk
from keyturn_tui.discreet import Discreet, leave_lost_terminal
from keyturn_tui.messages import Answer
from keyturn_tui.palette import Commands
from keyturn_tui.plain import AsciiFilter
from keyturn_tui.rows import Catalog, catalog
from keyturn_tui.screens.action_screen import ActionScreen
from keyturn_tui.screens.main import MainScreen
from keyturn_tui.terminal import Options, Terminal, terminal_for
from keyturn_tui.ticker import Ticker

T = TypeVar("T")

#: Seconds that leaving waits for a change of files or vault that has begun.
DRAIN = 10.0


class KeyturnApp(Discreet, App[None], inherit_bindings=False):
    """Holds the desk and the screens, and is the `acts.Front`."""

    CSS = theme.APP_CSS
    TITLE = "keyturn"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {Commands}
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "quit_hint", show=False)]
    PAUSE_GC_ON_SCROLL: ClassVar[bool] = True

    def __init__(self, keeper: KeeperPort, options: Options, terminal: Terminal) -> None:
        super().__init__(ansi_color=True if terminal.no_color else None)
        self.animation_level = "basic" if terminal.animation else "none"
        self.desk = Desk(keeper, Bridge(self.post_message), options, terminal)
        self.acts = Acts(self.desk, self)
        self._ticker = Ticker(self)
        for own in theme.themes():
            self.register_theme(own)
        self.theme = theme.PLAIN if terminal.no_color else theme.THEME_NAMES[0]

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our variables, so that the style sheet can be read before a theme of ours is set."""
        return theme.variables_of(theme.THEME_NAMES[0])

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Every line passes these on its way to the terminal."""
        filters = super().get_line_filters()
        return [*filters, AsciiFilter()] if self.desk.terminal.ascii else filters

    def get_default_screen(self) -> Screen[None]:
        """The main screen lies at the bottom of the stack."""
        return MainScreen(self.desk, self.acts, self)

    def on_mount(self) -> None:
        """Files are read in a worker while the first frame is painted; nothing else is touched."""
        self.start(self._first_look())
        self._ticker.start()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGHUP, signal.SIGTERM):
            loop.add_signal_handler(number, self.exit, None, 128 + number)

    def on_answer(self, message: Answer) -> None:
        """The one place where workers' results come in."""
        self.desk.bridge.settle(message)

    def _swap(self, snapshot: Snapshot, listed: Catalog) -> None:
        """The one place where a snapshot is swapped."""
        before, self.desk.snapshot = self.desk.snapshot, snapshot
        self.desk.catalog = listed
        known = {problem.path for problem in before.problems} if before else set()
        for problem in snapshot.problems:
            if before is not None and problem.path not in known:
                place = f"{self.desk.shown(problem.path)}:{problem.line}"
                self.notify(safe(f"{place}: {problem.reason}"), severity="error", markup=False)
        self.redraw()

    async def look(self) -> None:
        """Take a snapshot, and wait until it is shown."""
        try:
            snapshot, listed = await self.desk.bridge.ask(self._snapshot, Lane.LOOK)
        except KeyturnError as error:
            self.say(error.line(), "error")
        else:
            self._swap(snapshot, listed)

    async def look_if_changed(self) -> None:
        """The stat poll."""
        if await self.desk.bridge.ask(self.desk.keeper.changed, Lane.LOOK):
            await self.look()

    async def ask_person(self, screen: Screen[T]) -> T | None:
        """See `acts.Front`."""
        return await self.push_screen_wait(screen)

    def start(self, conversation: Coroutine[Any, Any, Any]) -> None:
        """See `acts.Front`."""
        self.run_worker(conversation)

    def say(self, text: str, role: str = "text") -> None:
        """See `acts.Front`."""
        for screen in self._action_screens():
            screen.show_message(text, role)

    def redraw(self) -> None:
        """See `acts.Front`."""
        for screen in self._action_screens():
            screen.redraw()

    def tick(self) -> None:
        """A second has passed."""
        for screen in self._action_screens():
            screen.tick()

    def own_fault(self, what: str, error: Exception) -> None:
        """See `acts.Front`."""
        log.unforeseen(error)
        self.say(
            f"{safe(what)}: a fault of keyturn itself ({type(error).__name__}); keyturn.log says where.",
            "error",
        )

    def open_palette(self) -> None:
        """See `acts.Front`."""
        if not CommandPalette.is_open(cast("App[object]", self)):
            self.push_screen(CommandPalette(id="palette", placeholder="Find an action or a profile"))

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
            screen.action_run(action_id)

    def go_to(self, name: str) -> None:
        """Put the cursor on a profile."""
        for screen in self._action_screens():
            if isinstance(screen, MainScreen):
                screen.choose(name)

    async def _first_look(self) -> None:
        await self.look()
        snapshot = self.desk.snapshot
        if snapshot is not None and snapshot.sandbox is not None:
            self.say(f"Sandbox. Join it from another shell with:  {snapshot.sandbox}", "key")
        elif snapshot is not None and not snapshot.recovery_key_seen:
            self.say("Nobody has seen the vault's recovery key yet: keyturn vault recovery-key", "soon")

    def _snapshot(self) -> tuple[Snapshot, Catalog]:
        snapshot = self.desk.keeper.snapshot()
        return snapshot, catalog(snapshot)

    def _action_screens(self) -> list[ActionScreen]:
        return [
            screen for screen in self.screen_stack if isinstance(screen, ActionScreen) and screen.is_mounted
        ]


def run(options: Options, environ: Mapping[str, str] | None = None, keeper: KeeperPort | None = None) -> int:
    """Run the app until it is left; gives the exit code.

    :param keeper: for tests and pictures; else the one that `environ` describes.
    """
    environ = dict(os.environ if environ is None else environ)
    if keeper is None:
        from keyturn.keeper import Keeper

        keeper = Keeper.from_environ(environ)
    log.open_log(keeper.places.state_dir)
    if not environ.get("NO_COLOR"):
        os.environ.pop("NO_COLOR", None)  # Textual counts an empty one; no-color.org does not
    app = KeyturnApp(keeper, options, terminal_for(environ, options))
    app.run(mouse=options.mouse)
    app.desk.bridge.drain(DRAIN)
    if app.fault is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"keyturn: {app.fault}\n")
    leave_lost_terminal()
    return app.return_code or 0
