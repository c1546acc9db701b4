"""Command palette: profiles and actions by their names. Textual's own commands are left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from typing import Protocol, cast

from textual.command import CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.widgets import Input

from keyturn.model.text import safe
from keyturn_tui.actions import ACTIONS, Action, label_of
from keyturn_tui.rendering.profile_rows import Row
from keyturn_tui.state import AppState

#: Maximum number of profiles shown.
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
        row = getattr(self.screen, "selected_row", None)
        for action in ACTIONS:
            if action.palette:
                label = label_of(action, row)
                yield DiscoveryHit(_label(action, label), self._runs(action), text=label, help=action.help)

    async def search(self, query: str) -> Hits:
        """Yield the profiles and actions whose names contain the query, best first.

        Descriptions are not searched, because Enter runs the first hit. Of equal matches a profile comes
        before an action, because going to it changes nothing.
        """
        names = (entry.profile.name for entry in self._palette_app.state.catalog.entries)
        for name, rank in profile_hits(names, query):
            safe_name = safe(name, 100)
            yield Hit(
                _score(rank, 1),
                Content(f"Go to {safe_name}"),
                partial(self._palette_app.go_to, name),
                text=safe_name,
            )
        for action, label, rank in action_hits(query, getattr(self.screen, "selected_row", None)):
            yield Hit(
                _score(rank, 0), _label(action, label), self._runs(action), text=label, help=action.help
            )

    def _runs(self, action: Action) -> Callable[[], None]:
        return partial(self._palette_app.run_action_id, action.id)


def match_rank(query: str, name: str) -> int | None:
    """Return how a name matches: 0 at its start, 1 at the start of a later word, 2 elsewhere; None if it does
    not contain the query.
    """
    needle, text = query.strip().lower(), name.lower()
    if not needle or needle not in text:
        return None
    if text.startswith(needle):
        return 0
    return 1 if re.search(rf"(?<![^\W_]){re.escape(needle)}", text) else 2


def profile_hits(names: Iterable[str], query: str) -> list[tuple[str, int]]:
    """Return the names that contain the query with their ranks, best first, at most `LIMIT`."""
    found = ((name, rank) for name in names if (rank := match_rank(query, name)) is not None)
    return list(islice(sorted(found, key=lambda hit: hit[1]), LIMIT))


def action_hits(query: str, row: Row | None) -> list[tuple[Action, str, int]]:
    """Return the actions whose labels contain the query, with that label and its rank, best first.

    :param row: the selected row, which `Adopt…`, `Release…` and `MFA code` are labels for.
    """
    found = []
    for action in ACTIONS:
        labels = dict.fromkeys((label_of(action, row), action.label))
        ranks = {label: rank for label in labels if (rank := match_rank(query, label)) is not None}
        if action.palette and ranks:
            label = min(ranks, key=lambda label: ranks[label])
            found.append((action, label, ranks[label]))
    return sorted(found, key=lambda hit: hit[2])


def _score(rank: int, order: int) -> float:
    """Return a score for a rank; of equal ranks the higher `order` wins."""
    return (3 - rank) * 2 + order


def _label(action: Action, label: str) -> Content:
    return Content(f"{label}  ({action.key_label.split()[0]})")
