"""Which lines of two versions of a file are the same. Pure.

Lines that are there once in each, as the headers of sections are, are paired first, and only what lies between is
compared line by line: `difflib` by itself takes minutes for ten thousand profiles, since every blank line is like all
others.
"""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

Line = tuple[object, str]
Pair = tuple[int, int]


class Matcher(difflib.SequenceMatcher[Line]):
    """`difflib`'s own, with its groups and codes, in time that grows with the files' length."""

    a: Sequence[Line]
    b: Sequence[Line]

    def get_matching_blocks(self) -> list[difflib.Match]:
        """The runs of lines that both have, in order, and the empty one at the end that callers expect."""
        old, new = list(self.a), list(self.b)
        found: list[difflib.Match] = []
        for block in _blocks(old, new):
            last = found[-1] if found else difflib.Match(0, 0, 0)
            if (last.a + last.size, last.b + last.size) == (block.a, block.b):
                found[-1:] = [difflib.Match(last.a, last.b, last.size + block.size)]
            else:
                found.append(block)
        return [*found, difflib.Match(len(old), len(new), 0)]


def _blocks(old: list[Line], new: list[Line]) -> Iterator[difflib.Match]:
    at, there = 0, 0
    for one, other in [*anchors(old, new), (len(old), len(new))]:
        yield from _between(old[at:one], new[there:other], at, there)
        if one < len(old):
            yield difflib.Match(one, other, 1)
        at, there = one + 1, other + 1


def _between(old: list[Line], new: list[Line], at: int, there: int) -> Iterator[difflib.Match]:
    if old == new:
        blocks = [difflib.Match(0, 0, len(old))]
    else:
        blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    yield from (difflib.Match(at + one, there + other, size) for one, other, size in blocks if size)


def anchors(old: Sequence[Line], new: Sequence[Line]) -> list[Pair]:
    """The longest run of pairs of lines, in the order of both, each of which is there once in each.

    The longest increasing run by patience sorting (Fredman 1975), as the `patience` diff of several programs does it.
    """
    once = {line for line, count in Counter(old).items() if count == 1}
    places = {line: at for at, line in enumerate(new) if line in once}
    single = {line for line, count in Counter(new).items() if count == 1}
    pairs = [(at, places[line]) for at, line in enumerate(old) if line in places and line in single]
    ends: list[int] = []
    last: list[int] = []
    before: list[int] = []
    for number, (_, there) in enumerate(pairs):
        length = bisect_left(ends, there)
        before.append(last[length - 1] if length else -1)
        if length == len(ends):
            ends.append(there)
            last.append(number)
        else:
            ends[length], last[length] = there, number
    found: list[Pair] = []
    number = last[-1] if last else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]
