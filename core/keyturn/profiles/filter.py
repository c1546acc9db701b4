"""Filter of the profile list: `type:sso state:expired acct:4444 !prod text`. Pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from keyturn.model.labels import kind_words
from keyturn.model.profile import Profile, VaultState, login_state, state_of

#: Field names before a colon. Any other colon is part of the text.
FIELDS = ("type", "state", "acct")


@dataclass(frozen=True, slots=True)
class Term:
    """One term of a filter."""

    field: str
    """One of `FIELDS`, or empty for a plain word."""
    value: str
    """Lower case."""
    negated: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed filter. Every term must match."""

    terms: tuple[Term, ...]

    def __bool__(self) -> bool:
        return bool(self.terms)

    def matches(self, text: str, kinds: str, account: str, states: Callable[[], str]) -> bool:
        """Return True if a row matches, given its precomputed texts.

        :param text: text that plain words are searched in, lower case.
        :param kinds: names of the row's kind, lower case.
        :param states: returns the row's state words, which a plain word may equal. It is called only if
            needed, because it depends on the clock.
        """
        for term in self.terms:
            match term.field:
                case "type":
                    is_match = term.value in kinds
                case "acct":
                    is_match = term.value in account
                case "state":
                    is_match = any(word.startswith(term.value) for word in states().split())
                case _:
                    is_match = term.value in text or term.value in states().split()
            if is_match == term.negated:
                return False
        return True

    def shows(self, row: Profile, vault: VaultState, now: datetime) -> bool:
        """Return True if a profile matches."""
        return self.matches(
            haystack(row), types(row), row.account or "", lambda: state_words(row, vault, now)
        )


def parse(text: str) -> Query:
    """Parse a filter. Terms are separated by spaces. A term without a value (`state:`) is ignored, so that
    the list does not flicker while the user types.
    """
    terms = []
    for word in text.lower().split():
        negated = word.startswith("!")
        rest = word[1:] if negated else word
        name, colon, value = rest.partition(":")
        field, rest = (name, value) if colon and name in FIELDS else ("", rest)
        if rest:
            terms.append(Term(field, rest, negated))
    return Query(tuple(terms))


def haystack(row: Profile) -> str:
    """Return the text of a row that plain words are searched in, lower case."""
    parts = (row.name, row.source, row.account, row.role, row.region, row.mfa_serial)
    return "\n".join(part for part in parts if part).lower()


def types(row: Profile) -> str:
    """Return all names of a row's kind, lower case."""
    return f"{row.kind} {kind_words(row)}".lower()


def state_words(row: Profile, vault: VaultState, now: datetime) -> str:
    """Return every word that `state:` matches for a row."""
    managed = "managed" if row.managed else "native"
    failed = "failed" if row.failure else ""
    login = login_state(row.login, now) if row.login else ""
    return f"{state_of(row, vault, now)} {row.rotation.state} {managed} {login} {failed}"
