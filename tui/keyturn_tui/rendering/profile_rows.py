"""Rows of the profile list. Pure over a snapshot, the time, a filter and a sort order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from keyturn.model.profile import (
    FileProblem,
    FileWarning,
    Kind,
    Profile,
    Snapshot,
    State,
    due_at,
    in_use,
    state_of,
)
from keyturn.model.profile import RotationState as Rot
from keyturn.model.text import safe
from keyturn.profiles.filter import Query
from keyturn_tui.rendering.profile_cells import View, state_terms, type_label


class Sort(StrEnum):
    """Sort orders of the list, in the order in which `s` switches them."""

    SOURCE = "source"
    """Grouped by the source whose sessions are refreshed together."""
    ATTENTION = "attention"
    """Profiles that need the user first."""
    LEFT = "time left"
    NAME = "name"

    def next_order(self) -> Sort:
        """Return the next order; the first after the last."""
        every = list(Sort)
        return every[(every.index(self) + 1) % len(every)]


@dataclass(frozen=True, slots=True)
class Entry:
    """A profile with its filter text, computed once per snapshot."""

    profile: Profile
    haystack: str
    types: str
    group: str
    """Label of its group row."""

    @property
    def key(self) -> tuple[str, str]:
        """Identity of the row across snapshots."""
        return "profile", self.profile.name


@dataclass(frozen=True, slots=True)
class Group:
    """A heading: the source of the rows under it."""

    label: str

    @property
    def key(self) -> tuple[str, str]:
        return "group", self.label


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that cannot be read, or a misread line that belongs to no profile, shown as a row at the top."""

    problem: FileProblem | FileWarning

    @property
    def key(self) -> tuple[str, str]:
        if isinstance(self.problem, FileWarning):
            return "line", f"{self.problem.path}:{self.problem.line}"
        return "file", self.problem.path


Row = Entry | Group | Problem

#: Most rows of misread lines, which would hide the profiles.
MAX_MISREAD = 5
#: Label of the last group. Sources with a single profile share it, because headings would double the list's
#: length.
STANDALONE = "Standalone"
_SOURCE_LABELS: Mapping[str, str] = {
    Kind.IAM_KEY: "IAM user, access key",
    Kind.SSO_ROLE: "SSO",
    Kind.SAML_ROLE: "SAML",
    Kind.WEB_IDENTITY: "web identity",
    Kind.CONSOLE_LOGIN: "console login",
    Kind.PROCESS: "process",
}


@dataclass(frozen=True, slots=True)
class Catalog:
    """A snapshot prepared for listing; `entries` are in source order."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]


def catalog(snapshot: Snapshot) -> Catalog:
    """Compute what filters and sort orders need, once per snapshot."""
    by_source: dict[str, list[Profile]] = {}
    for profile in snapshot.profiles:
        by_source.setdefault(profile.source or "", []).append(profile)
    labels = {
        source: _group_label(source, profiles)
        for source, profiles in by_source.items()
        if source and len(profiles) > 1
    }
    ordered = sorted(snapshot.profiles, key=lambda p: _source_order(p, labels))
    entries = tuple(_entry(p, labels.get(p.source or "", STANDALONE)) for p in ordered)
    misread = [warning for warning in snapshot.warnings if warning.profile is None][:MAX_MISREAD]
    rows = (*map(Problem, snapshot.problems), *map(Problem, misread))
    return Catalog(entries, rows)


def _source_order(profile: Profile, labels: dict[str, str]) -> tuple[bool, str, bool, str]:
    source = profile.source or ""
    if source not in labels:
        return True, "", False, profile.name.lower()
    return False, source.lower(), profile.kind is not Kind.IAM_KEY, profile.name.lower()


def _group_label(source: str, profiles: list[Profile]) -> str:
    words = next((_SOURCE_LABELS[p.kind] for p in profiles if p.kind in _SOURCE_LABELS), "")
    return f"{safe(source, 60)} ({words})" if words else safe(source, 60)


def _entry(profile: Profile, group: str) -> Entry:
    types = f"{profile.kind} {type_label(profile)}".lower()
    parts = (profile.name, profile.account, profile.role, profile.region, profile.source, profile.deliver_as)
    haystack = "\n".join(safe(part) for part in parts if part).lower() + "\n" + types
    return Entry(profile, haystack, types, group)


def sort_rows(listing: Catalog, view: View, sort: Sort, *, backwards: bool = False) -> tuple[Row, ...]:
    """Return all rows in sort order. Files with problems come first; only `SOURCE` has groups."""
    entries = list(listing.entries)
    if sort is not Sort.SOURCE:
        rank = {Sort.LEFT: _seconds_left, Sort.ATTENTION: attention_rank}.get(sort, lambda _profile, _view: 0)
        entries.sort(key=lambda entry: (rank(entry.profile, view), entry.profile.name.lower()))
    return (*listing.problems, *(reversed(entries) if backwards else entries))


def filter_rows(rows: Iterable[Row], query: Query, view: View, sort: Sort) -> tuple[Row, ...]:
    """Return the rows that match the filter, with group rows if sorted by source. Files with problems always
    match."""
    shown: list[Row] = []
    group = None
    for row in rows:
        if isinstance(row, Entry):
            if query and not matches(row, query, view):
                continue
            if sort is Sort.SOURCE and row.group != group:
                group = row.group
                shown.append(Group(group))
        shown.append(row)
    groups = [row for row in shown if isinstance(row, Group)]
    if groups == [Group(STANDALONE)]:
        shown.remove(groups[0])
    return tuple(shown)


def matches(entry: Entry, query: Query, view: View) -> bool:
    """Return True if a profile matches the filter now."""
    return query.matches(
        entry.haystack, entry.types, entry.profile.account or "", lambda: state_terms(entry.profile, view)
    )


def attention_rank(profile: Profile, view: View) -> int:
    """Return the rank of a profile in the order `ATTENTION`; 0 comes first."""
    state = state_of(profile, view.vault, view.now)
    rotation = profile.rotation.state
    ranks = (
        state is State.BROKEN,
        view.failure(profile) is not None,
        state is State.EXPIRED and in_use(profile, view.now),
        rotation in (Rot.OVERDUE, Rot.IN_PROGRESS),
        state is State.SOON,
        state is State.LOCKED,
        rotation is Rot.DUE,
        state is State.EXPIRED,
        state is State.LONG_TERM,
        state in (State.FRESH, State.UNKNOWN),
    )
    return next((rank for rank, applies in enumerate(ranks) if applies), len(ranks))


def _seconds_left(profile: Profile, view: View) -> float:
    if profile.session is None or profile.session.expires is None:
        return timedelta.max.total_seconds()
    return (profile.session.expires - view.now).total_seconds()


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts in the header."""

    total: int
    by_state: Mapping[State, int]
    overdue: int
    """Keys past their policy."""


def count(profiles: Sequence[Profile], view: View) -> Counts:
    """Count profiles by state."""
    by_state = dict.fromkeys(State, 0)
    for profile in profiles:
        by_state[state_of(profile, view.vault, view.now)] += 1
    overdue = sum(profile.rotation.state is Rot.OVERDUE for profile in profiles)
    return Counts(len(profiles), by_state, overdue)


def deadlines(profiles: Iterable[Profile]) -> list[datetime]:
    """Return the times at which a profile's state changes by itself, sorted."""
    times = []
    for profile in profiles:
        session = profile.session
        if session is not None and session.expires is not None:
            times += [due_at(session.issued, session.expires), session.expires]
        if profile.login is not None:
            times += filter(None, (profile.login.until, profile.login.renewable_until))
    return sorted(times)
