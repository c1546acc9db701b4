"""What the command palette finds: actions first, profiles second, nothing of Textual's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, cast

from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.widgets import Input

from keyturn.model.text import safe
from keyturn_tui.actions import ACTIONS, Action
from keyturn_tui.state import AppState

#: Profiles shown at most; scoring is what costs time, so candidates are found by substring first.
LIMIT = 20


class PaletteApp(Protocol):
    """The part of :class:`keyturn_tui.app.KeyturnApp` that the palette uses."""

    state: AppState

    def go_to(self, name: str) -> None: ...
    def run_action_id(self, action_id: str) -> None: ...


class Palette(CommandPalette):
    """Textual's own, whose cursor does not blink: that would send a kilobyte a second over the line."""

    def on_mount(self) -> None:
        """Once its field is there."""
        self.query_one(Input).cursor_blink = False


class Commands(Provider):
    """Actions of the registry and profiles of the latest snapshot."""

    @property
    def _palette_app(self) -> PaletteApp:
        return cast("PaletteApp", self.app)

    async def discover(self) -> Hits:
        """Before anything is typed: all actions."""
        for action in ACTIONS:
            if action.palette:
                yield DiscoveryHit(_label(action), self._runs(action), text=action.label, help=_help(action))

    async def search(self, query: str) -> Hits:
        """What matches."""
        matcher = self.matcher(query)
        for action in ACTIONS:
            score = matcher.match(f"{action.label} {action.help}")
            if action.palette and score > 0:
                yield Hit(
                    1 + score, _label(action), self._runs(action), text=action.label, help=_help(action)
                )
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
    """Names that hold the query, at most `LIMIT`."""
    needle = query.lower()
    names: list[str] = []
    for entry in state.catalog.entries:
        if needle in entry.profile.name.lower():
            names.append(entry.profile.name)
            if len(names) == LIMIT:
                break
    return names


def _label(action: Action) -> Content:
    return Content(f"{action.label}  ({action.key_label.split()[0]})")


def _help(action: Action) -> str:
    """Palette help is read as markup; ours comes from the registry and holds no bracket (tested)."""
    return action.help
