"""The filter language of the list: `type:sso state:expired acct:4444 !prod text`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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

    def matches(self, haystack: str, types: str, account: str, states: Callable[[], str]) -> bool:
        """Whether a row passes.

        :param haystack: everything a plain word is looked for in, lower case.
        :param types: the row's kind in all its words, lower case.
        :param states: gives the row's state words; called only where a term asks for them, as it depends on the clock.
        """
        for term in self.terms:
            match term.field:
                case "type":
                    found = term.value in types
                case "acct":
                    found = term.value in account
                case "state":
                    found = any(word.startswith(term.value) for word in states().split())
                case _:
                    found = term.value in haystack
            if found == term.negated:
                return False
        return True


def parse(text: str) -> Query:
    """The query that `text` spells. Words are split at spaces; a term still without a value (`state:`) is ignored, so
    that the list does not flicker while somebody types."""
    terms = []
    for word in text.lower().split():
        negated = word.startswith("!")
        rest = word[1:] if negated else word
        head, colon, value = rest.partition(":")
        if colon and head in FIELDS:
            field, rest = head, value
        else:
            field = ""
        if rest:
            terms.append(Term(field, rest, negated))
    return Query(tuple(terms))
