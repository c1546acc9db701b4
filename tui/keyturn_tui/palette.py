"""What the command palette finds: actions first, profiles second, nothing of Textual's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from keyturn.text import safe
from keyturn_tui.actions import ACTIONS, Action
from keyturn_tui.desk import Desk

if TYPE_CHECKING:
    from keyturn_tui.app import KeyturnApp

#: Profiles shown at most; scoring is what costs time, so candidates are found by substring first.
LIMIT = 20


class Commands(Provider):
    """Actions of the registry and profiles of the latest snapshot."""

    @property
    def _front(self) -> KeyturnApp:
        return cast("KeyturnApp", self.app)

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
        for name in profile_hits(self._front.desk, query):
            shown = safe(name, 100)
            yield Hit(
                matcher.match(shown) / 2,
                Content(f"Go to {shown}"),
                partial(self._front.go_to, name),
                text=shown,
            )

    def _runs(self, action: Action) -> Callable[[], None]:
        return partial(self._front.run_action_id, action.id)


def profile_hits(desk: Desk, query: str) -> list[str]:
    """Names that hold the query, at most `LIMIT`."""
    wanted = query.lower()
    found: list[str] = []
    for entry in desk.catalog.entries:
        if wanted in entry.profile.name.lower():
            found.append(entry.profile.name)
            if len(found) == LIMIT:
                break
    return found


def _label(action: Action) -> Content:
    return Content(f"{action.label}  ({action.shown.split()[0]})")


def _help(action: Action) -> str:
    """Palette help is read as markup; ours comes from the registry and holds no bracket (tested)."""
    return action.help
