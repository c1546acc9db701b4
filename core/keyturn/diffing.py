"""A change to a shared file as a person sees it: lines taken and put, every secret value masked."""

from __future__ import annotations

import re
from collections.abc import Sequence

from keyturn.delivery.credential_process import VERB
from keyturn.matching import Matcher
from keyturn.model import DiffLine
from keyturn.secret import MASK

#: Unchanged lines shown on either side of a change.
_CONTEXT = 2
_SECRET_SETTING = re.compile(
    r"^([\s#;]*(?:aws_secret_access_key|aws_session_token|aws_security_token)\s*[=:]\s*)(.*)$", re.IGNORECASE
)
#: The arguments of somebody else's process may hold a password.
_PROCESS = re.compile(r"^([\s#;]*credential_process\s*[=:]\s*)(\S+)(.*)$", re.IGNORECASE)
#: What looks like a secret access key wherever it stands, a comment included (aws-facts 6).
_SECRET_SHAPE = re.compile(
    r"(?<![A-Za-z0-9/+])(?:[A-Za-z0-9/+]{40}|[A-Za-z0-9/+]{100,}={0,2})(?![A-Za-z0-9/+=])"
)


def raw_lines(data: bytes | None) -> list[str]:
    """The lines of a file without their ends, as botocore counts them."""
    text = (data or b"").decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n") if text else []


def masked_lines(data: bytes | None) -> list[str]:
    """The lines of a file without their ends, and without the value of any secret."""
    found: list[str] = []
    in_secret = False
    for line in raw_lines(data):
        match = _SECRET_SETTING.match(line)
        if match:
            in_secret = True
            found.append(match[1] + MASK)
        elif in_secret and line[:1] in (" ", "\t") and line.strip():
            found.append(line[: len(line) - len(line.lstrip())] + MASK)
        else:
            in_secret = in_secret and line.lstrip()[:1] in ("#", ";")
            found.append(_SECRET_SHAPE.sub(_mask_unless_path, _process_masked(line)))
    return found


def _process_masked(line: str) -> str:
    match = _PROCESS.match(line)
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
    """The change from `before` to `after`, headed by a line that names the file; empty if nothing changes.

    Each part is shown with its section's header and the lines around it that belong to the same section.
    """
    old, new = masked_lines(before), masked_lines(after)
    # Compared as they are, so that a changed secret shows as a change; shown masked.
    lines, others = (
        list(zip(raw_lines(data), masked, strict=True)) for data, masked in ((before, old), (after, new))
    )
    found: list[DiffLine] = []
    for group in Matcher(None, lines, others, autojunk=False).get_grouped_opcodes(_CONTEXT):
        if found:
            found.append(DiffLine(" ", ""))
        found += _part(group, old, new)
    if not found and (before or b"") != (after or b""):
        found.append(DiffLine(" ", "(only line ends change)"))
    return (DiffLine("@", heading), *found) if found else ()


def _part(group: Sequence[tuple[str, int, int, int, int]], old: list[str], new: list[str]) -> list[DiffLine]:
    """One run of changes, as lines."""
    found = []
    for place, (tag, start, end, new_start, new_end) in enumerate(group):
        if tag == "equal":
            kept = old[start:end]
            if place == 0:
                kept = _from_header(old, start, end)
            elif place == len(group) - 1:
                kept = _until_gap(kept)
            found += [DiffLine(" ", line) for line in kept]
            continue
        found += [DiffLine("-", line) for line in old[start:end]]
        found += [DiffLine("+", line) for line in new[new_start:new_end]]
    return found


def _from_header(lines: list[str], start: int, end: int) -> list[str]:
    """The lines before a change, from its section's header on; what lies between, if it is long, becomes `…`."""
    header = next((at for at in range(end - 1, -1, -1) if lines[at].lstrip().startswith("[")), None)
    if header is None or header >= start:
        return lines[header if header is not None else start : end]
    between = ["…"] if header + 1 < start else []
    return [lines[header], *between, *lines[start:end]]


def _until_gap(lines: list[str]) -> list[str]:
    """The lines after a change, up to the first blank one or the next section."""
    for at, line in enumerate(lines):
        if not line.strip() or line.lstrip().startswith("["):
            return lines[:at]
    return lines
