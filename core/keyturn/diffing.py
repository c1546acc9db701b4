"""A change to a shared file as a person sees it: lines taken and put, every secret value masked."""

from __future__ import annotations

import difflib
import re

from keyturn.model import DiffLine
from keyturn.secret import MASK

_SECRET_SETTING = re.compile(
    r"^(\s*(?:aws_secret_access_key|aws_session_token|aws_security_token)\s*[=:]\s*)(.*)$", re.IGNORECASE
)
#: What looks like a secret access key wherever it stands, a comment included (aws-facts 6).
_SECRET_SHAPE = re.compile(
    r"(?<![A-Za-z0-9/+=])(?:[A-Za-z0-9/+]{40}|[A-Za-z0-9/+]{100,}={0,2})(?![A-Za-z0-9/+=])"
)


def masked_lines(data: bytes | None) -> list[str]:
    """The lines of a file without their ends, and without the value of any secret."""
    found: list[str] = []
    in_secret = False
    for line in (data or b"").decode("utf-8", "replace").splitlines():
        match = _SECRET_SETTING.match(line)
        if match:
            in_secret = True
            found.append(match[1] + MASK)
        elif in_secret and line[:1] in " \t" and line.strip():
            found.append(line[: len(line) - len(line.lstrip())] + MASK)
        else:
            in_secret = False
            found.append(_SECRET_SHAPE.sub(_mask_unless_path, line))
    return found


def _mask_unless_path(match: re.Match[str]) -> str:
    text = match[0]
    mixed = (
        any(c.isupper() for c in text) and any(c.islower() for c in text) and any(c.isdigit() for c in text)
    )
    return MASK if mixed else text


def diff(
    heading: str, before: bytes | None, after: bytes | None, *, context: int = 2
) -> tuple[DiffLine, ...]:
    """The change from `before` to `after`, headed by a line that names the file; empty if nothing changes."""
    old, new = masked_lines(before), masked_lines(after)
    found: list[DiffLine] = []
    for line in list(difflib.unified_diff(old, new, lineterm="", n=context))[2:]:
        if line.startswith("@@"):
            if found:
                found.append(DiffLine(" ", "…"))
            continue
        found.append(DiffLine(line[0], line[1:]))
    if not found and before != after:
        found.append(DiffLine(" ", "(only secret values or line ends change)"))
    return (DiffLine("@", heading), *found) if found else ()
