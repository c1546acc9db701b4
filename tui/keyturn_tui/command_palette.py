"""Command palette: actions first, then profiles. Textual's own commands are left out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Protocol, cast

from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.widgets import Input

from keyturn.model.text import safe
from keyturn_tui.actions import ACTIONS, Action
from keyturn_tui.state import AppState

#: Maximum number of profiles shown. Candidates are found by substring first, because scoring is slow.
LIMIT = 20


class PaletteApp(Protocol):
    """The part of :class:`keyturn_tui.app.KeyturnApp` that the palette uses."""

    state: AppState

    def go_to(self, name: str) -> None: ...
    def run_action_id(self, action_id: str) -> None: ...


class Palette(CommandPalette):
    """Textual's palette with a cursor that does not blink, because blinking sends 1 kB/s."""

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False


class Commands(Provider):
    """Finds actions of the registry and profiles of the latest snapshot.

    The palette reads the help of a hit as markup, so no help text contains a bracket (tested).
    """

    @property
    def _palette_app(self) -> PaletteApp:
        return cast("PaletteApp", self.app)

    async def discover(self) -> Hits:
        """Yield all actions, before anything is typed."""
        for action in ACTIONS:
            if action.palette:
                yield DiscoveryHit(_label(action), self._runs(action), text=action.label, help=action.help)

    async def search(self, query: str) -> Hits:
        """Yield the actions and profiles that match."""
        matcher = self.matcher(query)
        for action in ACTIONS:
            score = matcher.match(f"{action.label} {action.help}")
            if action.palette and score > 0:
                yield Hit(1 + score, _label(action), self._runs(action), text=action.label, help=action.help)
        for name in profile_hits(self._palette_app.state, query):
            safe_name = safe(name, 100)
            yield Hit(
                matcher.match(safe_name) / 2,
                Content(f"Go to {safe_name}"),
                partial(self._palette_app.go_to, name),
                text=safe_name,
            )

    def _runs(self, action: Action) -> Callable[[], None]:
        return partial(self._palette_app.run_action_id, action.id)


def profile_hits(state: AppState, query: str) -> list[str]:
    """Return the names that contain the query, at most `LIMIT`."""
    needle, names = query.lower(), (entry.profile.name for entry in state.catalog.entries)
    return list(islice((name for name in names if needle in name.lower()), LIMIT))


def _label(action: Action) -> Content:
    return Content(f"{action.label}  ({action.key_label.split()[0]})")
