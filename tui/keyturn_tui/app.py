"""The app: screens over one keeper. It routes messages and keeps time; what acts do is in `acts`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import ClassVar, TypeVar

from textual import events
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.filter import LineFilter
from textual.screen import Screen

from keyturn import log
from keyturn.errors import KeyturnError, UsageError
from keyturn.model import Delivery, Snapshot
from keyturn.text import safe
from keyturn_tui import theme
from keyturn_tui.acts import Acts
from keyturn_tui.bridge import Bridge, KeeperPort, Lane
from keyturn_tui.desk import Desk
from keyturn_tui.discreet import leave_lost_terminal
from keyturn_tui.keyboard import Keyboard, read_escape_apart
from keyturn_tui.messages import Answer
from keyturn_tui.palette import Commands
from keyturn_tui.plain import AsciiFilter, HarmlessFilter
from keyturn_tui.rotatable import waiting_line
from keyturn_tui.rows import Catalog, catalog
from keyturn_tui.screens.main import MainScreen
from keyturn_tui.stage import Stage
from keyturn_tui.terminal import Options, Terminal, give_size, terminal_for
from keyturn_tui.ticker import Ticker

T = TypeVar("T")

#: Seconds that another process takes between the files of one change, and much more.
SETTLING = 0.5
#: Seconds that leaving waits for a change of files or vault that has begun.
DRAIN = 10.0


class KeyturnApp(Stage, inherit_bindings=False):
    """Holds the desk and the screens, routes answers and keeps time."""

    CSS = theme.APP_CSS
    COMPONENT_CLASSES: ClassVar[set[str]] = theme.ROLE_CLASSES
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
        self.keyboard = Keyboard(self, super().on_event)
        self._ticker = Ticker(self)
        self._withdrawn = self.desk.now()
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
        return MainScreen(self.desk, self.acts, self)

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
            if newly_broken(self.desk.snapshot, snapshot):
                # Another process may be between its two files, the definition and the line; a fault stays.
                await asyncio.sleep(SETTLING)
                snapshot, listed = await self.desk.bridge.ask(self._snapshot, Lane.LOOK)
        except KeyturnError as error:
            self.say(error.line(), "error")
        else:
            self._swap(snapshot, listed)

    async def look_if_changed(self) -> None:
        """The stat poll."""
        if await self.desk.bridge.ask(self.desk.keeper.changed, Lane.LOOK):
            await self.look()
        if self.desk.snapshot is not None and ended_since(
            self.desk.snapshot, self._withdrawn, self.desk.now()
        ):
            await self._withdraw()

    async def _withdraw(self) -> None:
        """What any start owes to processes that were killed, and what nobody else does while no agent runs. The list is
        on the screen first; leaving waits for it."""
        self._withdrawn = self.desk.now()
        try:
            if await self.desk.bridge.ask(self.desk.keeper.withdraw_expired, Lane.ACT):
                await self.look()
        except KeyturnError as error:
            self.say(error.line(), "error")

    async def _first_look(self) -> None:
        await self.look()
        await self._withdraw()
        snapshot = self.desk.snapshot
        if snapshot is not None and snapshot.sandbox is not None:
            self.say(f"Sandbox. In another shell:  {snapshot.sandbox}", "key")
        elif snapshot is not None and not snapshot.recovery_key_seen:
            self.say("Nobody has seen the vault's recovery key yet: keyturn vault recovery-key", "soon")
        elif snapshot is not None and (line := waiting_line(snapshot)):
            self.say(line, "due")

    def _snapshot(self) -> tuple[Snapshot, Catalog]:
        snapshot = self.desk.keeper.snapshot()
        return snapshot, catalog(snapshot)


def newly_broken(before: Snapshot | None, now: Snapshot) -> bool:
    """Whether a managed profile has a problem that it did not have a moment ago."""
    if before is None:
        return False
    whole = {one.name for one in before.profiles if one.managed and one.problem is None}
    return any(one.problem is not None and one.name in whole for one in now.profiles)


def ended_since(snapshot: Snapshot, since: datetime, now: datetime) -> bool:
    """Whether a session that stands in the credentials file has ended between two moments, and no agent saw to it."""
    ends = (
        one.session.expires
        for one in snapshot.profiles
        if one.managed and one.delivery is Delivery.CREDENTIALS_FILE and one.session is not None
    )
    return not snapshot.agent and any(end is not None and since < end <= now for end in ends)


def run(options: Options, environ: Mapping[str, str] | None = None, keeper: KeeperPort | None = None) -> int:
    """Run the app until it is left; gives the exit code.

    :param keeper: for tests and pictures; else the one that `environ` describes.
    """
    environ = dict(os.environ if environ is None else environ)
    if keeper is None:
        from keyturn.keeper import Keeper

        keeper = Keeper.from_environ(environ)
    if sys.__stderr__ is None or not sys.__stderr__.isatty():
        raise UsageError("the app", "it draws on stderr, which is no terminal here", "Start it without 2>.")
    give_size(sys.__stderr__.fileno())
    log.open_log(keeper.places.state_dir)
    if not environ.get("NO_COLOR"):
        os.environ.pop("NO_COLOR", None)  # Textual counts an empty one; no-color.org does not
    if environ.get("TERM") == "dumb":
        os.environ["TERM"] = (
            "linux"  # Textual takes its size for another at each look and never comes to an end
        )
    read_escape_apart()
    app = KeyturnApp(keeper, options, terminal_for(environ, options))
    app.run(mouse=options.mouse)
    app.desk.bridge.drain(DRAIN)
    with contextlib.suppress(OSError):
        for what in app.desk.bridge.abandoned():
            sys.stderr.write(
                f"keyturn: {safe(what)}: left before AWS answered. Nothing is lost; try it again.\n"
            )
        if app.fault is not None:
            sys.stderr.write(f"keyturn: {app.fault}\n")
    leave_lost_terminal()
    return app.return_code or 0
