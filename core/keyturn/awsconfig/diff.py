"""Diffs of a shared file for display, with every secret value masked."""

from __future__ import annotations

import difflib
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import takewhile

from keyturn.awsconfig.process_line import VERB
from keyturn.model.profile import DiffLine
from keyturn.model.secret import MASK

#: Unchanged lines shown before and after a change.
_CONTEXT = 2
_SECRET_SETTING = re.compile(
    r"^([\s#;]*(?:aws_secret_access_key|aws_session_token|aws_security_token)\s*[=:]\s*)(.*)$", re.IGNORECASE
)
#: The arguments of another program's `credential_process` may hold a password.
_PROCESS_SETTING = re.compile(r"^([\s#;]*credential_process\s*[=:]\s*)(\S+)(.*)$", re.IGNORECASE)
#: Matches text with the shape of a secret access key or token anywhere in a line, comments included.
_SECRET_SHAPE = re.compile(
    r"(?<![A-Za-z0-9/+])(?:[A-Za-z0-9/+]{40}|[A-Za-z0-9/+]{100,}={0,2})(?![A-Za-z0-9/+=])"
)


def raw_lines(data: bytes | None) -> list[str]:
    """Return the lines of a file without line ends, split as botocore splits them."""
    text = (data or b"").decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n") if text else []


def masked_lines(data: bytes | None) -> list[str]:
    """Return the lines of a file without line ends, with every secret value masked."""
    masked: list[str] = []
    in_secret = False
    for line in raw_lines(data):
        match = _SECRET_SETTING.match(line)
        if match:
            in_secret = True
            masked.append(match[1] + MASK)
        elif in_secret and line[:1] in (" ", "\t") and line.strip():
            masked.append(line[: len(line) - len(line.lstrip())] + MASK)
        else:
            in_secret = in_secret and line.lstrip()[:1] in ("#", ";")
            masked.append(_SECRET_SHAPE.sub(_mask_unless_path, _mask_process_arguments(line)))
    return masked


def _mask_process_arguments(line: str) -> str:
    match = _PROCESS_SETTING.match(line)
    if match is None or not match[3].strip() or f" {VERB} " in match[3]:
        return line
    return f"{match[1]}{match[2]} {MASK}"


def _mask_unless_path(match: re.Match[str]) -> str:
    text = match[0]
    mixed = (
        any(c.isupper() for c in text) and any(c.islower() for c in text) and any(c.isdigit() for c in text)
    )
    return MASK if mixed else text


def diff(heading: str, before: bytes | None, after: bytes | None) -> tuple[DiffLine, ...]:
    """Return the change from `before` to `after`, preceded by a line with `heading`; empty if nothing
    changes.

    Each group of changes is shown with the header of its section and the adjacent lines of that section.
    """
    old, new = masked_lines(before), masked_lines(after)
    # Compare the raw lines, because a changed secret must show as a change; show the masked lines.
    old_pairs, new_pairs = (
        list(zip(raw_lines(data), masked, strict=True)) for data, masked in ((before, old), (after, new))
    )
    result: list[DiffLine] = []
    for group in Matcher(None, old_pairs, new_pairs, autojunk=False).get_grouped_opcodes(_CONTEXT):
        if result:
            result.append(DiffLine(" ", ""))
        result += _group_lines(group, old, new)
    if not result and (before or b"") != (after or b""):
        result.append(DiffLine(" ", "(only line endings change)"))
    return (DiffLine("@", heading), *result) if result else ()


def _group_lines(
    group: Sequence[tuple[str, int, int, int, int]], old: list[str], new: list[str]
) -> list[DiffLine]:
    """Return one group of changes as diff lines."""
    result = []
    for index, (tag, start, end, new_start, new_end) in enumerate(group):
        if tag == "equal":
            context = old[start:end]
            if index == 0:
                context = _from_header(old, start, end)
            elif index == len(group) - 1:
                context = _until_gap(context)
            result += [DiffLine(" ", line) for line in context]
            continue
        result += [DiffLine("-", line) for line in old[start:end]]
        result += [DiffLine("+", line) for line in new[new_start:new_end]]
    return result


def _from_header(lines: list[str], start: int, end: int) -> list[str]:
    """Return the lines before a change, starting at the section header; a long stretch in between becomes
    `…`."""
    header = next((at for at in range(end - 1, -1, -1) if lines[at].lstrip().startswith("[")), None)
    if header is None or header >= start:
        return lines[header if header is not None else start : end]
    between = ["…"] if header + 1 < start else []
    return [lines[header], *between, *lines[start:end]]


def _until_gap(lines: list[str]) -> list[str]:
    """Return the lines after a change, up to the first blank line or the next section."""
    return list(takewhile(lambda line: line.strip() and not line.lstrip().startswith("["), lines))


Line = tuple[object, str]
Pair = tuple[int, int]


class Matcher(difflib.SequenceMatcher[Line]):
    """`difflib.SequenceMatcher` with the same opcodes and groups, in time proportional to the file length."""

    a: Sequence[Line]
    b: Sequence[Line]

    def get_matching_blocks(self) -> list[difflib.Match]:
        """Return the runs of lines common to both, in order, ending with the empty block that callers
        expect."""
        old, new = list(self.a), list(self.b)
        blocks: list[difflib.Match] = []
        for block in _blocks(old, new):
            previous = blocks[-1] if blocks else difflib.Match(0, 0, 0)
            if (previous.a + previous.size, previous.b + previous.size) == (block.a, block.b):
                blocks[-1:] = [difflib.Match(previous.a, previous.b, previous.size + block.size)]
            else:
                blocks.append(block)
        return [*blocks, difflib.Match(len(old), len(new), 0)]


def _blocks(old: list[Line], new: list[Line]) -> Iterator[difflib.Match]:
    old_start, new_start = 0, 0
    for old_anchor, new_anchor in [*anchors(old, new), (len(old), len(new))]:
        yield from _between(old[old_start:old_anchor], new[new_start:new_anchor], old_start, new_start)
        if old_anchor < len(old):
            yield difflib.Match(old_anchor, new_anchor, 1)
        old_start, new_start = old_anchor + 1, new_anchor + 1


def _between(old: list[Line], new: list[Line], old_start: int, new_start: int) -> Iterator[difflib.Match]:
    if old == new:
        blocks = [difflib.Match(0, 0, len(old))]
    else:
        blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    yield from (
        difflib.Match(old_start + old_index, new_start + new_index, size)
        for old_index, new_index, size in blocks
        if size
    )


def anchors(old: Sequence[Line], new: Sequence[Line]) -> list[Pair]:
    """Return the longest common subsequence of the lines that occur exactly once in each file.

    Finds the longest increasing subsequence by patience sorting (Fredman 1975), as `git diff --patience`
    does.
    """
    unique_in_old = {line for line, count in Counter(old).items() if count == 1}
    new_index = {line: at for at, line in enumerate(new) if line in unique_in_old}
    unique_in_new = {line for line, count in Counter(new).items() if count == 1}
    pairs = [
        (at, new_index[line]) for at, line in enumerate(old) if line in new_index and line in unique_in_new
    ]
    ends: list[int] = []
    last: list[int] = []
    predecessor: list[int] = []
    for number, (_, position) in enumerate(pairs):
        length = bisect_left(ends, position)
        predecessor.append(last[length - 1] if length else -1)
        if length == len(ends):
            ends.append(position)
            last.append(number)
        else:
            ends[length], last[length] = position, number
    result: list[Pair] = []
    number = last[-1] if last else -1
    while number >= 0:
        result.append(pairs[number])
        number = predecessor[number]
    return result[::-1]
