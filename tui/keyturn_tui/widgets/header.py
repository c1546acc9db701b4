"""The first line: counts by state, vault, and the time."""

from __future__ import annotations

from datetime import datetime

from textual.app import ComposeResult
from textual.containers import Horizontal

from keyturn.model.profile import State, VaultState
from keyturn_tui.rendering.profile_cells import Line, Span, View, line_width
from keyturn_tui.rendering.profile_rows import Counts
from keyturn_tui.widgets.styled_lines import StyledLines

_VAULT = {
    VaultState.ABSENT: ("no vault yet", "muted"),
    VaultState.LOCKED: ("vault locked", "soon"),
    VaultState.CLOSED: ("vault auto-unlocks", "muted"),
    VaultState.OPEN: ("vault unlocked", "muted"),
    VaultState.BROKEN: ("vault unreadable", "error"),
}


def header_spans(counts: Counts, view: View, folder: str, width: int) -> Line:
    """Return counts by state, vault state and flags. Zero counts are left out. If the line is too long, gaps
    shrink first, then agent and folder, the number of profiles, and a vault state that needs no action are
    dropped."""
    plural = "" if counts.total == 1 else "s"
    leading: list[Span] = [(folder, "muted"), (f"{counts.total} profile{plural}", "text")]
    states, flags, vault = _state_counts(counts, view, overdue=" overdue"), _flags(view), _VAULT[view.vault]
    urgent = [(vault[0].removeprefix("vault "), vault[1])] if vault[1] != "muted" else []
    agent: list[Span] = [("agent", "muted")] if view.snapshot.agent and not view.snapshot.paused else []
    line: Line = ()
    for gap, parts in (
        ("   ", [*leading, *states, *flags, vault, *agent]),
        ("  ", [*leading, *states, *flags, vault, *agent]),
        ("  ", [*leading, *states, *flags, vault]),
        ("  ", [*leading[1:], *states, *flags, vault]),
        ("  ", [*states, *flags, vault]),
        ("  ", [*states, *flags, *urgent]),
        (" ", [*states, *urgent, *flags]),
        (" ", [*_state_counts(counts, view, overdue=""), *urgent, *flags]),
    ):
        line = ((" keyturn", "title"), *((gap + text, role) for text, role in parts))
        if line_width(line) <= width:
            break
    return line


def _state_counts(counts: Counts, view: View, *, overdue: str) -> list[Span]:
    glyphs, by_state = view.glyphs, counts.by_state
    states = (
        (by_state[State.FRESH], glyphs.fresh, "fresh", ""),
        (by_state[State.SOON], glyphs.soon, "soon", ""),
        (by_state[State.EXPIRED], glyphs.expired, "expired", ""),
        (by_state[State.LONG_TERM], glyphs.long_term, "key", ""),
        (counts.overdue, glyphs.due, "overdue", overdue),
        (by_state[State.BROKEN], glyphs.broken, "broken", ""),
        (by_state[State.LOCKED] + by_state[State.UNKNOWN], glyphs.unknown, "unknown", ""),
    )
    return [(f"{glyph} {number}{word}", role) for number, glyph, role, word in states if number]


def _flags(view: View) -> list[Span]:
    bad_files, warnings = len(view.snapshot.problems), len(view.snapshot.warnings)
    flags = (
        (f"{bad_files} invalid file{'s' if bad_files > 1 else ''}", "error", bad_files),
        (f"{warnings} warning{'s' if warnings > 1 else ''}", "soon", warnings),
        ("read-only", "soon", view.read_only),
        ("paused", "soon", view.snapshot.paused),
        ("sandbox", "key", view.snapshot.sandbox is not None),
    )
    return [(text, role) for text, role, applies in flags if applies]


class Header(Horizontal):
    """Counts at the left, clock at the right. The clock is a separate widget, so that its seconds repaint
    alone."""

    DEFAULT_CSS = """
    Header { height: 1; }
    Header #counts { width: 1fr; }
    Header #clock { width: 13; }
    """

    def compose(self) -> ComposeResult:
        yield StyledLines(id="counts")
        yield StyledLines(id="clock")

    def show(self, counts: Counts, view: View, folder: str) -> None:
        width = max(20, self.size.width - 14)
        self.query_one("#counts", StyledLines).show([header_spans(counts, view, folder, width)])

    def tick(self, now: datetime) -> None:
        """Show `14:05:10 UTC` on a wide terminal, else `14:05 UTC` to save bytes and cells."""
        text = f"{now:%H:%M:%S} UTC" if self.size.width >= 100 else f"{now:%H:%M} UTC"
        self.query_one("#clock", StyledLines).show([((f"{text:>12}", "muted"),)])
