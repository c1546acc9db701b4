"""Which profiles a filter shows: `type:sso state:expired acct:4444 !prod text`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from keyturn.model import Profile, VaultState, state_of
from keyturn.words import KIND_WORDS

#: Words before a colon that mean something; any other colon is part of the text.
FIELDS = ("type", "state", "acct")


@dataclass(frozen=True, slots=True)
class Term:
    """One word of a filter."""

    field: str
    """One of `FIELDS`, or empty for text anywhere."""
    value: str
    """Lower case."""
    negated: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed filter: every term must hold."""

    terms: tuple[Term, ...]

    def __bool__(self) -> bool:
        return bool(self.terms)

    def shows(self, row: Profile, vault: VaultState, now: datetime) -> bool:
        """Whether a profile passes."""
        return all(self._holds(term, row, vault, now) != term.negated for term in self.terms)

    @staticmethod
    def _holds(term: Term, row: Profile, vault: VaultState, now: datetime) -> bool:
        match term.field:
            case "type":
                return term.value in types(row)
            case "acct":
                return term.value in (row.account or "")
            case "state":
                words = (str(state_of(row, vault, now)), str(row.rotation.state), managed_word(row))
                return any(word.startswith(term.value) for word in words)
            case _:
                return term.value in haystack(row)


def parse(text: str) -> Query:
    """The query that `text` spells. Words are split at spaces; a term still without a value (`state:`) is ignored, so
    that a list does not flicker while somebody types."""
    terms = []
    for word in text.lower().split():
        negated = word.startswith("!")
        rest = word[1:] if negated else word
        head, colon, value = rest.partition(":")
        field, rest = (head, value) if colon and head in FIELDS else ("", rest)
        if rest:
            terms.append(Term(field, rest, negated))
    return Query(tuple(terms))


def haystack(row: Profile) -> str:
    """All of a row that a plain word is looked for in, lower case."""
    parts = (row.name, row.source, row.account, row.role, row.region, row.mfa_serial)
    return "\n".join(part for part in parts if part).lower()


def types(row: Profile) -> str:
    """A row's kind in all its words, lower case."""
    return f"{row.kind} {KIND_WORDS[row.kind]}".lower()


def managed_word(row: Profile) -> str:
    return "managed" if row.managed else "native"
