"""The first line: is anything wrong, and what time is it."""

from __future__ import annotations

from datetime import datetime

from textual.app import ComposeResult
from textual.containers import Horizontal

from keyturn.model import VaultState
from keyturn_tui.cells import Span, View
from keyturn_tui.rows import Counts
from keyturn_tui.widgets.painted import Painted

_VAULT = {
    VaultState.ABSENT: ("no vault yet", "muted"),
    VaultState.LOCKED: ("vault locked", "soon"),
    VaultState.CLOSED: ("vault closed", "muted"),
    VaultState.OPEN: ("vault open", "muted"),
    VaultState.BROKEN: ("vault unreadable", "error"),
}


def header_spans(counts: Counts, view: View, folder: str, width: int) -> tuple[Span, ...]:
    """Counts by state, the vault, and what is special about this run; what is zero is left out, as is what does not
    fit: the folder first, then the number of profiles."""
    glyphs = view.glyphs
    overdue = f" ({counts.overdue} overdue)" if counts.overdue else ""
    states = [
        (f"{glyphs.fresh} {counts.fresh}", "fresh"),
        (f"{glyphs.soon} {counts.soon}", "soon"),
        (f"{glyphs.expired} {counts.expired}", "expired"),
        (f"{glyphs.long_term} {counts.long_term}", "key"),
        (f"{glyphs.broken} {counts.broken}", "broken"),
        (f"{glyphs.unknown} {counts.unknown}", "unknown"),
    ]
    numbers = (counts.fresh, counts.soon, counts.expired, counts.long_term, counts.broken, counts.unknown)
    shown = [state for state, number in zip(states, numbers, strict=True) if number]
    if overdue:
        shown.insert(sum(1 for n in numbers[:4] if n), (overdue.strip(), "overdue"))
    marks: list[Span] = []
    if view.snapshot.problems:
        files = len(view.snapshot.problems)
        marks.append((f"{files} unreadable file{'s' if files > 1 else ''}", "error"))
    marks.append(_VAULT[view.vault])
    if view.read_only:
        marks.append(("read-only", "soon"))
    if view.snapshot.sandbox is not None:
        marks.append(("sandbox", "key"))
    total = (f"{counts.total} profile{'' if counts.total == 1 else 's'}", "text")
    for head in ([(folder, "muted"), total], [total], []):
        for gap in ("   ", "  "):
            spans: list[Span] = [(" keyturn", "title")]
            for text, role in (*head, *shown, *marks):
                spans += [(gap, "text"), (text, role)]
            if sum(len(text) for text, _ in spans) <= width:
                return tuple(spans)
    return tuple(spans)


def clock_text(now: datetime, *, seconds: bool) -> str:
    """`14:05:10 UTC`, or `14:05 UTC` where bytes or cells are short."""
    return f"{now:%H:%M:%S} UTC" if seconds else f"{now:%H:%M} UTC"


class Header(Horizontal):
    """Counts at the left; the clock at the right is a widget of its own, so that its seconds repaint alone."""

    DEFAULT_CSS = """
    Header { height: 1; }
    Header #counts { width: 1fr; }
    Header #clock { width: 13; }
    """

    def compose(self) -> ComposeResult:
        """Counts and clock."""
        yield Painted(id="counts")
        yield Painted(id="clock")

    def show(self, counts: Counts, view: View, folder: str) -> None:
        """Show other counts."""
        room = max(20, self.size.width - 14)
        self.query_one("#counts", Painted).show([header_spans(counts, view, folder, room)])

    def tick(self, now: datetime) -> None:
        """Show the time: with seconds on a wide terminal."""
        text = clock_text(now, seconds=self.size.width >= 100)
        self.query_one("#clock", Painted).show([((f"{text:>12}", "muted"),)])
