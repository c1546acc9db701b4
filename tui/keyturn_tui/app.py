"""The app: screens over one keeper. It routes messages and keeps time; what acts do is in `acts`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, cast

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.filter import LineFilter
from textual.screen import Screen

from keyturn.model.errors import KeyturnError, UsageError
from keyturn.model.profile import Snapshot
from keyturn.model.text import safe
from keyturn.system import log
from keyturn_tui import theme
from keyturn_tui.command_palette import Commands, Palette
from keyturn_tui.controllers.profiles import ProfileController
from keyturn_tui.messages import Answer
from keyturn_tui.rendering.profile_rows import Catalog, catalog
from keyturn_tui.rendering.rotation_steps import waiting_line
from keyturn_tui.screens.base import ActionScreen
from keyturn_tui.screens.main import MainScreen
from keyturn_tui.state import AppState, ended_since, newly_broken
from keyturn_tui.terminal.capabilities import Options, Terminal, give_size, terminal_for
from keyturn_tui.terminal.crash_report import SafeCrashApp, leave_lost_terminal
from keyturn_tui.terminal.keys import Keyboard, read_escape_apart
from keyturn_tui.terminal.output_filters import AsciiFilter, HarmlessFilter
from keyturn_tui.timers import Ticker
from keyturn_tui.workers import Queue, ServicePort, WorkerPool

T = TypeVar("T")

#: Seconds that another process takes between the files of one change, and much more.
SETTLING = 0.5
#: Seconds that leaving waits for a change of files or vault that has begun.
DRAIN = 10.0


class KeyturnApp(SafeCrashApp, inherit_bindings=False):
    """Holds the desk and the screens, routes answers and keeps time."""

    CSS = theme.APP_CSS
    COMPONENT_CLASSES: ClassVar[set[str]] = theme.ROLE_CLASSES
    TITLE = "keyturn"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {Commands}
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "quit_hint", show=False)]
    PAUSE_GC_ON_SCROLL: ClassVar[bool] = True

    def __init__(self, service: ServicePort, options: Options, terminal: Terminal) -> None:
        super().__init__(ansi_color=True if terminal.no_color else None)
        self.animation_level = "basic" if terminal.animation else "none"
        self.state = AppState(service, WorkerPool(self.post_message), options, terminal)
        self.controller = ProfileController(self.state, self)
        self.keyboard = Keyboard(self, super().on_event)
        self._ticker = Ticker(self)
        self._withdrawn = self.state.now()
        self._last_filters = [HarmlessFilter(), *([AsciiFilter()] if terminal.ascii else [])]
        for own in theme.themes():
            self.register_theme(own)
        self.theme = theme.PLAIN if terminal.no_color else theme.THEME_NAMES[0]

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our variables, so that the style sheet can be read before a theme of ours is set."""
        return theme.variables_of(theme.THEME_NAMES[0])

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Every line passes these on its way to the terminal."""
        return [*super().get_line_filters(), *self._last_filters]

    def get_default_screen(self) -> Screen[None]:
        """The main screen lies at the bottom of the stack."""
        return MainScreen(self.state, self.controller, self)

    def on_mount(self) -> None:
        """Files are read in a worker once the first frame is painted; nothing else is touched."""
        self.call_after_refresh(lambda: self.start(self._first_look()))
        self._ticker.start()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGHUP, signal.SIGTERM):
            loop.add_signal_handler(number, self.exit, None, 128 + number)

    async def on_event(self, event: events.Event) -> None:
        """What is typed goes through the keyboard, all else where Textual sends it."""
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            self.keyboard.take(event)
        else:
            await super().on_event(event)

    def on_answer(self, message: Answer) -> None:
        """The one place where workers' results come in."""
        self.state.workers.settle(message)

    def _swap(self, snapshot: Snapshot, listed: Catalog) -> None:
        """The one place where a snapshot is swapped."""
        before, self.state.snapshot = self.state.snapshot, snapshot
        self.state.catalog = listed
        known = {problem.path for problem in before.problems} if before else set()
        for problem in snapshot.problems:
            if before is not None and problem.path not in known:
                place = f"{self.state.shown(problem.path)}:{problem.line}"
                self.notify(safe(f"{place}: {problem.reason}"), severity="error", markup=False)
        self.redraw()

    async def look(self) -> None:
        """Take a snapshot, and wait until it is shown."""
        try:
            snapshot, listed = await self.state.workers.ask(self._snapshot, Queue.LOOK)
            if newly_broken(self.state.snapshot, snapshot):
                # Another process may be between its two files, the definition and the line; a fault stays.
                await asyncio.sleep(SETTLING)
                snapshot, listed = await self.state.workers.ask(self._snapshot, Queue.LOOK)
        except KeyturnError as error:
            self.say(error.line(), "error")
        else:
            self._swap(snapshot, listed)

    async def look_if_changed(self) -> None:
        """The stat poll."""
        if await self.state.workers.ask(self.state.service.has_changed, Queue.LOOK):
            await self.look()
        if self.state.snapshot is not None and ended_since(
            self.state.snapshot, self._withdrawn, self.state.now()
        ):
            await self._withdraw()

    async def _withdraw(self) -> None:
        """What any start owes to processes that were killed, and what nobody else does while no agent runs. The list is
        on the screen first; leaving waits for it."""
        self._withdrawn = self.state.now()
        try:
            if await self.state.workers.ask(self.state.service.withdraw_expired, Queue.ACT):
                await self.look()
        except KeyturnError as error:
            self.say(error.line(), "error")

    async def _first_look(self) -> None:
        await self.look()
        await self._withdraw()
        snapshot = self.state.snapshot
        if snapshot is not None and snapshot.sandbox is not None:
            self.say(f"Sandbox. In another shell:  {snapshot.sandbox}", "key")
        elif snapshot is not None and not snapshot.recovery_key_seen:
            self.say("Nobody has seen the vault's recovery key yet: keyturn vault recovery-key", "soon")
        elif snapshot is not None and (line := waiting_line(snapshot)):
            self.say(line, "due")

    def _snapshot(self) -> tuple[Snapshot, Catalog]:
        snapshot = self.state.service.snapshot()
        return snapshot, catalog(snapshot)

    async def ask_person(self, screen: Screen[T]) -> T | None:
        return await self.push_screen_wait(screen)

    def start(self, conversation: Coroutine[Any, Any, Any]) -> None:
        self.run_worker(self._guarded(conversation))

    def say(self, text: str, role: str = "text") -> None:
        for screen in self._action_screens():
            screen.show_message(text, role)

    def redraw(self) -> None:
        for screen in self._action_screens():
            screen.redraw()

    def tick(self) -> None:
        """A second has passed. Only the screen that is on top shows it: what changes below a dialog would have all of the
        terminal sent anew, each second."""
        for screen in self._action_screens()[-1:]:
            if screen is self.screen_stack[-1]:
                screen.tick()

    def own_fault(self, what: str, error: Exception) -> None:
        log.record_unexpected(error)
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
        if not Palette.is_open(cast("App[object]", self)):
            self.push_screen(Palette(id="palette", placeholder="Find an action or a profile"))

    def next_theme(self) -> None:
        names = theme.THEME_NAMES
        if self.state.terminal.no_color:
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


def run(
    options: Options, environ: Mapping[str, str] | None = None, service: ServicePort | None = None
) -> int:
    """Run the app until it is left; gives the exit code.

    :param keeper: for tests and pictures; else the one that `environ` describes.
    """
    environ = dict(os.environ if environ is None else environ)
    if service is None:
        from keyturn.service import CredentialService

        service = CredentialService.from_environ(environ)
    if sys.__stderr__ is None or not sys.__stderr__.isatty():
        raise UsageError("the app", "it draws on stderr, which is no terminal here", "Start it without 2>.")
    give_size(sys.__stderr__.fileno())
    log.open_log(service.paths.state_dir)
    if not environ.get("NO_COLOR"):
        os.environ.pop("NO_COLOR", None)  # Textual counts an empty one; no-color.org does not
    if environ.get("TERM") == "dumb":
        os.environ["TERM"] = (
            "linux"  # Textual takes its size for another at each look and never comes to an end
        )
    read_escape_apart()
    app = KeyturnApp(service, options, terminal_for(environ, options))
    app.run(mouse=options.mouse)
    app.state.workers.drain(DRAIN)
    with contextlib.suppress(OSError):
        for what in app.state.workers.abandoned():
            sys.stderr.write(
                f"keyturn: {safe(what)}: left before AWS answered. Nothing is lost; try it again.\n"
            )
        if app.fault is not None:
            sys.stderr.write(f"keyturn: {app.fault}\n")
    leave_lost_terminal()
    return app.return_code or 0
