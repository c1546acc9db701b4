"""What is said where there is nothing to list, and in the two lines that stand for the detail pane."""

from __future__ import annotations

from keyturn.filtering import Query
from keyturn.text import safe
from keyturn_tui.cells import Line
from keyturn_tui.describe import summary
from keyturn_tui.desk import Desk
from keyturn_tui.rows import Entry, Problem, Row


def nothing_lines(desk: Desk, query: Query) -> tuple[Line, ...]:
    """What is said where the list is empty."""
    places = desk.keeper.places
    if desk.snapshot is None:
        return ((("  Reading the AWS files…", "muted"),),)
    if query:
        return ((("  Nothing matches. Esc clears the filter.", "muted"),),)
    files = [desk.shown(str(path)) for path in (places.aws_config, places.aws_credentials)]
    return (
        ((f"  No profiles in {safe(files[0])}", "text"),),
        ((f"  or {safe(files[1])}.", "text"),),
        (),
        (("  aws configure sso   adds one for Identity Center", "muted"),),
        (("  aws configure       adds one with an access key", "muted"),),
        (("  keyturn --sandbox   tries keyturn with made-up ones", "muted"),),
        (),
        (("  The files are read again as soon as they change.", "muted"),),
    )


def two_lines(row: Row | None, desk: Desk) -> tuple[Line, ...]:
    """A row in two lines; none where no row is chosen."""
    if isinstance(row, Entry):
        return summary(row.profile, desk.view())
    if isinstance(row, Problem):
        place = f"{desk.shown(row.problem.path)}:{row.problem.line}"
        return ((f" {safe(place)}", "error"),), ((f" {safe(row.problem.reason)}", "error"),)
    return ()
