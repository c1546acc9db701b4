"""Words and figures for a person: countdowns, ages, masked ids, and text from outside made harmless."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

#: Characters that print nothing or turn the reading order, beyond Unicode's control and format categories.
_INVISIBLE = frozenset("\u115f\u1160\u17b4\u17b5\u3164\uffa0\u034f")
_HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def safe(text: str, limit: int = 2000) -> str:
    """`text` with every character that a terminal could obey, or that hides or reorders others, written out.

    Control characters (C0, C1, ESC), bidirectional overrides, zero-width and unassigned characters and lone
    surrogates become `\\x1b`-style escapes; spaces other than the plain one become a plain one. What is left is
    printable and takes one line. Longer than `limit` characters is cut and ends in `…`.
    """
    if text.isascii() and text.isprintable() and len(text) <= limit:
        return text
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    return "".join(_harmless(ch) for ch in text)


def _harmless(ch: str) -> str:
    category = unicodedata.category(ch)
    if category == "Zs":
        return " "
    if category not in _HARMFUL and ch not in _INVISIBLE:
        return ch
    code = ord(ch)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def is_safe(text: str) -> bool:
    """Whether :func:`safe` leaves `text` as it is."""
    return safe(text, limit=len(text) + 1) == text


def masked_key_id(key_id: str) -> str:
    """The first and last four characters of an access key id, as shown wherever the whole id is not asked for."""
    return f"{key_id[:4]}…{key_id[-4:]}" if len(key_id) > 8 else "…" + key_id[-4:]


def countdown(left: timedelta) -> str:
    """Time left, for a narrow column: `6d 3h`, `2h 14m`, `41m`, `4m 31s`, `09s`; `expired` at zero and below.

    Seconds are shown in the last ten minutes only, so that a row that is not near its end does not change each second.
    """
    seconds = int(left.total_seconds())
    if seconds <= 0:
        return "expired"
    if seconds < 60:
        return f"{seconds:02d}s"
    minutes, second = divmod(seconds, 60)
    if minutes < 10:
        return f"{minutes}m {second:02d}s"
    if minutes < 60:
        return f"{minutes}m"
    hours, minute = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h {minute:02d}m"
    days, hour = divmod(hours, 24)
    return f"{days}d {hour}h"


def span(length: timedelta) -> str:
    """A length of time in its largest whole units: `12h`, `1h 30m`, `15m`, `90d`."""
    seconds = max(0, int(length.total_seconds()))
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, second = divmod(rest, 60)
    if seconds <= 36 * 3600:
        hours, days = hours + 24 * days, 0
    parts = [f"{n}{unit}" for n, unit in ((days, "d"), (hours, "h"), (minutes, "m"), (second, "s")) if n]
    return " ".join(parts[:2]) or "0s"


def days_between(earlier: datetime, later: datetime) -> int:
    """Whole days from `earlier` to `later`, never negative."""
    return max(0, (later - earlier).days)


def iso(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with seconds and a `Z`, as every `--json` prints it and every AWS client reads it."""
    if moment is None:
        return None
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_iso(text: object) -> datetime | None:
    """The moment that :func:`iso` or an AWS file wrote; None for anything that is no time or has no zone."""
    if not isinstance(text, str) or not text:
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else None


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One character for each state, so that no state is told by colour alone."""

    fresh: str
    soon: str
    expired: str
    none: str
    long_term: str
    due: str
    working: str
    unknown: str
    broken: str
    cursor: str
    mark: str
    ellipsis: str


UNICODE = Glyphs("●", "◐", "○", "-", "■", "▲", "↻", "?", "✗", "▸", "*", "…")
ASCII = Glyphs("+", "!", "x", "-", "#", "D", "~", "?", "X", ">", "*", ".")
