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
from keyturn_tui.rendering.rotation_steps import pending_rotation_line
from keyturn_tui.screens.base import ActionScreen
from keyturn_tui.screens.main import MainScreen
from keyturn_tui.state import AppState, has_expired_delivery, has_new_problem
from keyturn_tui.terminal.capabilities import Options, Terminal, ensure_terminal_size, terminal_for
from keyturn_tui.terminal.crash_report import SafeCrashApp, discard_lost_output
from keyturn_tui.terminal.keys import Keyboard, install_escape_parser
from keyturn_tui.terminal.output_filters import AsciiFilter, ControlFilter
from keyturn_tui.timers import Ticker
from keyturn_tui.workers import Queue, ServicePort, WorkerPool

T = TypeVar("T")

#: Seconds that another process takes between the files of one change, and much more.
SETTLE_DELAY = 0.5
#: Seconds that leaving waits for a change of files or vault that has begun.
DRAIN_TIMEOUT = 10.0


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
        self._last_withdrawal = self.state.now()
        self._last_filters = [ControlFilter(), *([AsciiFilter()] if terminal.ascii else [])]
        for own_theme in theme.themes():
            self.register_theme(own_theme)
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
        self.call_after_refresh(lambda: self.start(self._load_initial()))
        self._ticker.start()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGHUP, signal.SIGTERM):
            loop.add_signal_handler(number, self.exit, None, 128 + number)

    async def on_event(self, event: events.Event) -> None:
        """What is typed goes through the keyboard, all else where Textual sends it."""
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            self.keyboard.handle(event)
        else:
            await super().on_event(event)

    def on_answer(self, message: Answer) -> None:
        """The one place where workers' results come in."""
        self.state.workers.resolve(message)

    def _set_snapshot(self, snapshot: Snapshot, listing: Catalog) -> None:
        """The one place where a snapshot is swapped."""
        before, self.state.snapshot = self.state.snapshot, snapshot
        self.state.catalog = listing
        known_paths = {problem.path for problem in before.problems} if before else set()
        for problem in snapshot.problems:
            if before is not None and problem.path not in known_paths:
                location = f"{self.state.display_path(problem.path)}:{problem.line}"
                self.notify(safe(f"{location}: {problem.reason}"), severity="error", markup=False)
        self.redraw()

    async def reload(self) -> None:
        """Take a snapshot, and wait until it is shown."""
        try:
            snapshot, listing = await self.state.workers.run(self._snapshot, Queue.READ)
            if has_new_problem(self.state.snapshot, snapshot):
                # Another process may be between its two files, the definition and the line; a fault stays.
                await asyncio.sleep(SETTLE_DELAY)
                snapshot, listing = await self.state.workers.run(self._snapshot, Queue.READ)
        except KeyturnError as error:
            self.show_message(error.line(), "error")
        else:
            self._set_snapshot(snapshot, listing)

    async def reload_if_changed(self) -> None:
        """The stat poll."""
        if await self.state.workers.run(self.state.service.has_changed, Queue.READ):
            await self.reload()
        if self.state.snapshot is not None and has_expired_delivery(
            self.state.snapshot, self._last_withdrawal, self.state.now()
        ):
            await self._withdraw_expired()

    async def _withdraw_expired(self) -> None:
        """What any start owes to processes that were killed, and what nobody else does while no agent runs. The list is
        on the screen first; leaving waits for it."""
        self._last_withdrawal = self.state.now()
        try:
            if await self.state.workers.run(self.state.service.withdraw_expired, Queue.WRITE):
                await self.reload()
        except KeyturnError as error:
            self.show_message(error.line(), "error")

    async def _load_initial(self) -> None:
        await self.reload()
        await self._withdraw_expired()
        snapshot = self.state.snapshot
        if snapshot is not None and snapshot.sandbox is not None:
            self.show_message(f"Sandbox. In another shell:  {snapshot.sandbox}", "key")
        elif snapshot is not None and not snapshot.recovery_key_seen:
            self.show_message(
                "Nobody has seen the vault's recovery key yet: keyturn vault recovery-key", "soon"
            )
        elif snapshot is not None and (line := pending_rotation_line(snapshot)):
            self.show_message(line, "due")

    def _snapshot(self) -> tuple[Snapshot, Catalog]:
        snapshot = self.state.service.snapshot()
        return snapshot, catalog(snapshot)

    async def show_dialog(self, screen: Screen[T]) -> T | None:
        return await self.push_screen_wait(screen)

    def start(self, conversation: Coroutine[Any, Any, Any]) -> None:
        self.run_worker(self._run_guarded(conversation))

    def show_message(self, text: str, role: str = "text") -> None:
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

    def report_bug(self, what: str, error: Exception) -> None:
        log.record_unexpected(error)
        self.show_message(
            f"{safe(what)}: a fault of keyturn itself ({type(error).__name__}); keyturn.log says where.",
            "error",
        )

    async def _run_guarded(self, conversation: Coroutine[Any, Any, Any]) -> None:
        """No fault of one conversation ends the others with the app."""
        try:
            await conversation
        except Exception as error:  # noqa: BLE001  # the outermost boundary of what goes on beside the keyboard
            if self.is_running:  # else the screen that it would draw on is being taken down
                self.report_bug("what goes on behind the screen", error)

    def open_palette(self) -> None:
        if not Palette.is_open(cast("App[object]", self)):
            self.push_screen(Palette(id="palette", placeholder="Find an action or a profile"))

    def next_theme(self) -> None:
        theme_names = theme.THEME_NAMES
        if self.state.terminal.no_color:
            self.show_message("NO_COLOR is set: the terminal's own two colours are used.", "soon")
            return
        self.theme = theme_names[(theme_names.index(self.theme) + 1) % len(theme_names)]
        self.show_message(f"Theme {self.theme}.")

    def action_quit_hint(self) -> None:
        """ctrl+c ends most programs; here one key too many should not end a refresh."""
        self.show_message("Press q to leave.")

    def run_action_id(self, action_id: str) -> None:
        """Run an action of the registry on the screen that has them."""
        screen = self.screen
        if isinstance(screen, ActionScreen):
            screen.run_on_saved_row(action_id)

    def go_to(self, name: str) -> None:
        """Put the cursor on a profile."""
        for screen in self._action_screens():
            if isinstance(screen, MainScreen):
                screen.select_profile(name)

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
    ensure_terminal_size(sys.__stderr__.fileno())
    log.open_log(service.paths.state_dir)
    if not environ.get("NO_COLOR"):
        os.environ.pop("NO_COLOR", None)  # Textual counts an empty one; no-color.org does not
    if environ.get("TERM") == "dumb":
        os.environ["TERM"] = (
            "linux"  # Textual takes its size for another at each look and never comes to an end
        )
    install_escape_parser()
    app = KeyturnApp(service, options, terminal_for(environ, options))
    app.run(mouse=options.mouse)
    app.state.workers.drain(DRAIN_TIMEOUT)
    with contextlib.suppress(OSError):
        for what in app.state.workers.unanswered():
            sys.stderr.write(
                f"keyturn: {safe(what)}: left before AWS answered. Nothing is lost; try it again.\n"
            )
        if app.fault is not None:
            sys.stderr.write(f"keyturn: {app.fault}\n")
    discard_lost_output()
    return app.return_code or 0
