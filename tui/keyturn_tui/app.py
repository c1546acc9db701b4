"""The Textual app. It hands the answers of workers to those who wait for them, reloads the snapshot and
drives the clock."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from textual import events
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.driver import Driver
from textual.filter import LineFilter
from textual.screen import Screen

from keyturn.model.errors import KeyturnError, UsageError
from keyturn.model.profile import Snapshot
from keyturn.model.text import safe
from keyturn.system import log
from keyturn_tui import theme
from keyturn_tui.command_palette import Commands
from keyturn_tui.controllers.profiles import ProfileController
from keyturn_tui.messages import Answer, StepReported
from keyturn_tui.rendering.profile_rows import Catalog, catalog
from keyturn_tui.rendering.rotation_steps import pending_rotation_line
from keyturn_tui.screens.base import ActionScreen
from keyturn_tui.screens.main import MainScreen
from keyturn_tui.state import AppState, has_expired_delivery, has_new_problem
from keyturn_tui.terminal.capabilities import (
    Options,
    Terminal,
    ensure_terminal_size,
    prepare_stream,
    terminal_for,
)
from keyturn_tui.terminal.crash_report import SafeCrashApp, discard_lost_output
from keyturn_tui.terminal.driver import TerminalDriver
from keyturn_tui.terminal.keys import Keyboard, install_escape_parser
from keyturn_tui.terminal.output_filters import AsciiFilter, ControlFilter
from keyturn_tui.workers import Queue, ServicePort, WorkerPool

T = TypeVar("T")

#: Seconds before a snapshot with a new problem is taken again; another process writes its files within this
#: time.
SETTLE_DELAY = 0.5
#: Seconds to wait on exit for a running change of files or vault.
DRAIN_TIMEOUT = 10.0
#: Seconds between polls of the files.
POLL_INTERVAL = 2.0
#: Seconds between ticks while the terminal does not have the focus.
BLURRED_INTERVAL = 5.0


class KeyturnApp(SafeCrashApp, inherit_bindings=False):
    """Owns the state and the screens. Implements :class:`~keyturn_tui.controllers.ui.Ui`."""

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
        self._dialog_lock = asyncio.Lock()
        self._is_polling = False
        self._last_withdrawal = self.state.now()
        self._last_filters = [ControlFilter(), *([AsciiFilter()] if terminal.ascii else [])]
        for own_theme in theme.themes():
            self.register_theme(own_theme)
        self.theme = theme.PLAIN if terminal.no_color else theme.THEME_NAMES[0]

    def get_driver_class(self) -> type[Driver]:
        """Return the driver of the terminal. Tests replace it with one that has none."""
        return TerminalDriver

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Return keyturn's theme variables, because the style sheet is parsed before the theme is set."""
        return theme.variables_of(theme.THEME_NAMES[0])

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Add the filters that every line passes on its way to the terminal."""
        return [*super().get_line_filters(), *self._last_filters]

    def get_default_screen(self) -> Screen[None]:
        """Return the screen at the bottom of the stack."""
        return MainScreen(self.state, self.controller, self)

    def on_mount(self) -> None:
        """Load the files in a worker after the first frame is painted, so that start-up stays fast."""
        self.call_after_refresh(lambda: self.start(self._load_initial()))
        self._schedule_tick()
        self.set_interval(POLL_INTERVAL, self._poll)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGHUP, signal.SIGTERM):
            loop.add_signal_handler(number, self.exit, None, 128 + number)

    async def on_event(self, event: events.Event) -> None:
        """Send key presses and pastes through :class:`~keyturn_tui.terminal.keys.Keyboard`; pass other events
        to Textual."""
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            self.keyboard.handle(event)
        else:
            await super().on_event(event)

    def on_step_reported(self, message: StepReported) -> None:
        """Show how far a command on many profiles has come."""
        self.controller.show_step(message.step)

    def on_answer(self, message: Answer) -> None:
        """Resolve the coroutine that awaits a worker's result."""
        self.state.workers.resolve(message)

    def _set_snapshot(self, snapshot: Snapshot, listing: Catalog) -> None:
        """Replace the snapshot. This is the only place that does."""
        before, self.state.snapshot = self.state.snapshot, snapshot
        self.state.catalog = listing
        known_paths = {problem.path for problem in before.problems} if before else set()
        for problem in snapshot.problems:
            if before is not None and problem.path not in known_paths:
                location = f"{self.state.display_path(problem.path)}:{problem.line}"
                self.notify(safe(f"{location}: {problem.reason}"), severity="error", markup=False)
        self.redraw()

    async def reload(self) -> None:
        """Take a snapshot and show it."""
        try:
            snapshot, listing = await self.state.workers.run(self._snapshot, Queue.READ)
            if has_new_problem(self.state.snapshot, snapshot):
                # Another process may have written only one of two files; a real problem stays.
                await asyncio.sleep(SETTLE_DELAY)
                snapshot, listing = await self.state.workers.run(self._snapshot, Queue.READ)
        except KeyturnError as error:
            self.show_message(error.line(), "error")
        else:
            self._set_snapshot(snapshot, listing)

    async def reload_if_changed(self) -> None:
        """Reload if a file changed, and withdraw sessions that expired since the last check."""
        if await self.state.workers.run(self.state.service.has_changed, Queue.READ):
            await self.reload()
        if self.state.snapshot is not None and has_expired_delivery(
            self.state.snapshot, self._last_withdrawal, self.state.now()
        ):
            await self._withdraw_expired()

    async def _withdraw_expired(self) -> None:
        """Withdraw expired sessions from the credentials file, and recover what a killed process left.
        Without an agent nothing else does it. The list is shown first; exit waits for this."""
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
            self.show_message(f"Sandbox. In another shell, run:  {snapshot.sandbox}", "key")
        elif snapshot is not None and not snapshot.recovery_key_seen:
            self.show_message(
                "The vault's recovery key is not saved yet. Run: keyturn vault recovery-key", "soon"
            )
        elif snapshot is not None and (line := pending_rotation_line(snapshot)):
            self.show_message(line, "due")

    def _snapshot(self) -> tuple[Snapshot, Catalog]:
        snapshot = self.state.service.snapshot()
        return snapshot, catalog(snapshot)

    async def show_dialog(self, screen: Screen[T]) -> T | None:
        """Show dialogs one after another, because one that ends closes the top screen of the stack."""
        async with self._dialog_lock:
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
        """Update the top screen once a second. Screens below a dialog are skipped, because Textual then
        repaints everything."""
        for screen in self._action_screens()[-1:]:
            if screen is self.screen_stack[-1]:
                screen.tick()

    def report_bug(self, what: str, error: Exception) -> None:
        log.record_unexpected(error)
        self.show_message(f"{safe(what)}: internal error ({type(error).__name__}). See keyturn.log.", "error")

    async def _run_guarded(self, conversation: Coroutine[Any, Any, Any]) -> None:
        """Run a conversation, so that a bug in one does not end the app."""
        try:
            await conversation
        except Exception as error:  # noqa: BLE001  # outermost boundary of background conversations
            if self.is_running:  # otherwise the screen is being removed
                self.report_bug("background task", error)

    def _schedule_tick(self) -> None:
        """Set the timer of the next second, each time anew because clocks drift and machines sleep."""
        self.set_timer(seconds_until_tick(self.state.now(), focused=self.app_focus), self._run_tick)

    def _run_tick(self) -> None:
        self.tick()
        self._schedule_tick()

    def _poll(self) -> None:
        """Look for changed files, unless the last look has not ended."""
        if not self._is_polling:
            self._is_polling = True
            self.start(self._poll_files())

    async def _poll_files(self) -> None:
        try:
            await self.reload_if_changed()
        finally:
            self._is_polling = False

    def action_quit_hint(self) -> None:
        """Explain how to quit. Ctrl+C does not quit, because a stray one would interrupt a refresh."""
        self.show_message("Press q to quit.")

    def run_action_id(self, action_id: str) -> None:
        """Run an action of the registry on the current screen."""
        if isinstance(self.screen, ActionScreen):
            self.screen.run_on_saved_row(action_id)

    def go_to(self, name: str) -> None:
        """Move the cursor to a profile."""
        for screen in self._action_screens():
            if isinstance(screen, MainScreen):
                screen.select_profile(name)

    def _action_screens(self) -> list[ActionScreen]:
        """Return the screens that can be drawn. A screen that is being closed has no widgets any more."""
        return [
            screen
            for screen in self.screen_stack
            if isinstance(screen, ActionScreen) and screen.is_mounted and screen.children
        ]


def seconds_until_tick(now: datetime, *, focused: bool) -> float:
    """Return the seconds until just after the next full second, so that countdowns change with the clock;
    without focus, until the next multiple of `BLURRED_INTERVAL`."""
    step = 1.0 if focused else BLURRED_INTERVAL
    elapsed = (now.second + now.microsecond / 1_000_000) % step
    return step - elapsed + 0.005


def run(
    options: Options, environ: Mapping[str, str] | None = None, service: ServicePort | None = None
) -> int:
    """Run the app until the user quits, and return the exit code.

    :param service: for tests and screenshots; by default the service that `environ` describes.
    """
    environ = dict(os.environ if environ is None else environ)
    if service is None:
        from keyturn.service import CredentialService

        service = CredentialService.from_environ(environ)
        service.paths.check_private()
    if sys.__stderr__ is None or not sys.__stderr__.isatty():
        raise UsageError("Could not start the app", "stderr is not a terminal", "Run it without 2>")
    ensure_terminal_size(sys.__stderr__.fileno())
    log.open_log(service.paths.state_dir)
    if not environ.get("NO_COLOR"):
        os.environ.pop("NO_COLOR", None)  # Textual honours an empty value; no-color.org does not
    if environ.get("TERM") == "dumb":
        os.environ["TERM"] = (
            "linux"  # Textual loops for ever on a `dumb` terminal, because it misreads its size
        )
    install_escape_parser()
    app = KeyturnApp(service, options, terminal_for(environ, options, prepare_stream(sys.__stderr__)))
    app.run(mouse=options.mouse)
    app.state.workers.drain(DRAIN_TIMEOUT)
    with contextlib.suppress(OSError):
        for what in app.state.workers.unanswered():
            sys.stderr.write(
                f"keyturn: {safe(what)}: quit before AWS answered. Nothing is lost; run it again.\n"
            )
        if app.fault is not None:
            sys.stderr.write(f"keyturn: {app.fault}\n")
    discard_lost_output()
    return app.return_code or 0
