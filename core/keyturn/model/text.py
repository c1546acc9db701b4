"""Text for display: countdowns, durations, masked ids, and escaping of untrusted text."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

#: Invisible characters, and blanks other than space, beyond the control and format categories of Unicode.
_INVISIBLE = frozenset(
    map(
        chr,
        (
            0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x2800, 0x3164, 0xFFA0,
            0x16FE4, 0x1D159, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0),
        ),
    )
)  # fmt: skip
#: Symbols whose width differs between Unicode versions, so that terminals give them one cell or two, and
#: emoji modifiers.
_AMBIGUOUS_WIDTH = frozenset(
    map(
        chr,
        (
            *range(0x2630, 0x2638), *range(0x268A, 0x2690), *range(0x3248, 0x3250), *range(0x4DC0, 0x4E00),
            *range(0x1D300, 0x1D357), *range(0x1D360, 0x1D377), *range(0x1F3FB, 0x1F400),
        ),
    )
)  # fmt: skip
#: `Mc` marks take no cell in some terminals and one in others.
_UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Mc"})
_MARK_CATEGORIES = frozenset({"Mn", "Me"})
#: No script in use stacks more marks on a letter. More of them overlap the lines above and below.
_MAX_MARKS = 4
#: Hangul vowels and finals, which join the preceding syllable.
_JOINING_HANGUL = frozenset(map(chr, (*range(0x1161, 0x1200), *range(0xD7B0, 0xD7FC))))


def safe(text: str, limit: int = 2000) -> str:
    """Return `text` with every character escaped that a terminal could interpret or that hides, reorders or
    shifts other characters.

    Control characters (C0, C1, ESC), bidirectional overrides, zero-width and unassigned characters, variation
    selectors, lone surrogates, characters with ambiguous width, and combining marks that begin the text or
    pile up become `\\x1b`-style escapes. Other spaces become plain spaces. The result is printable and takes
    one line; a second call changes nothing. Text longer than `limit` characters is cut and ends in `…`.
    """
    if text.isascii() and text.isprintable() and len(text) <= limit:
        return text
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    parts: list[str] = []
    marks = _MAX_MARKS
    for ch in text:
        marks = marks + 1 if _is_joining(ch) else 0
        part = _escape(ch) if marks > _MAX_MARKS else _escape_unsafe(ch)
        if len(part) > 1 and not marks:
            marks = _MAX_MARKS  # a mark after an escape has no base character
        parts.append(part)
    return "".join(parts)


def _is_joining(ch: str) -> bool:
    return unicodedata.category(ch) in _MARK_CATEGORIES or ch in _JOINING_HANGUL


def _escape_unsafe(ch: str) -> str:
    category = unicodedata.category(ch)
    if category == "Zs":
        return " "
    if category not in _UNSAFE_CATEGORIES and ch not in _INVISIBLE and ch not in _AMBIGUOUS_WIDTH:
        return ch
    return _escape(ch)


def _escape(ch: str) -> str:
    code = ord(ch)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def cells(text: str) -> int:
    """Return the number of terminal cells of `text`, which must be safe already."""
    if text.isascii():
        return len(text)
    return sum(
        0 if _is_joining(ch) else 2 if unicodedata.east_asian_width(ch) in ("W", "F") else 1 for ch in text
    )


def is_safe(text: str) -> bool:
    """Return True if :func:`safe` leaves `text` unchanged."""
    return safe(text, limit=len(text) + 1) == text


def masked_key_id(key_id: str) -> str:
    """Return the first and last four characters of an access key id, the default display form."""
    return f"{key_id[:4]}…{key_id[-4:]}" if len(key_id) > 8 else "…" + key_id[-4:]


def countdown(remaining: timedelta) -> str:
    """Return the remaining time for a narrow column: `6d 3h`, `2h 14m`, `41m`, `4m 31s`, `09s`; `expired` at
    zero and below.

    Seconds are shown in the last ten minutes only, because other rows should not change every second.
    """
    seconds = int(remaining.total_seconds())
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


def wait_text(seconds: float) -> str:
    """Return the limit of a wait as an error names it: `3 s`, `5 min`."""
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def span(duration: timedelta) -> str:
    """Return a duration in its two largest units: `12h`, `1h 30m`, `15m`, `90d`."""
    seconds = max(0, int(duration.total_seconds()))
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, second = divmod(rest, 60)
    if seconds <= 36 * 3600:
        hours, days = hours + 24 * days, 0
    parts = [f"{n}{unit}" for n, unit in ((days, "d"), (hours, "h"), (minutes, "m"), (second, "s")) if n]
    return " ".join(parts[:2]) or "0s"


def iso(moment: datetime | None) -> str | None:
    """Return ISO 8601 in UTC with seconds and a `Z`, the format of `--json` and of AWS clients."""
    if moment is None:
        return None
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_iso(text: object) -> datetime | None:
    """Parse a time that :func:`iso` or an AWS tool wrote. Return None for any other value, for a time without
    a zone, and outside the years 1970 to 9998.
    """
    if not isinstance(text, str) or not text:
        return None
    try:
        local = datetime.fromisoformat(text.strip())
        moment = local.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    # Unix time begins in 1970; the year 9999 is excluded because date arithmetic could overflow.
    return moment if local.tzinfo and 1970 <= moment.year < 9999 else None


def from_aws_time(text: object) -> datetime | None:
    """Parse a time as AWS tools write it: as :func:`from_iso`, or in botocore's form, which ends in `UTC`."""
    if isinstance(text, str) and text.endswith("UTC"):
        text = text[:-3] + "Z"
    return from_iso(text)


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One character for each state, because state must not be shown by colour alone."""

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


UNICODE = Glyphs("●", "◐", "○", "-", "■", "▲", "↻", "?", "✗", "▸", "*")
ASCII = Glyphs("+", "!", "x", "-", "#", "D", "~", "?", "X", ">", "*")
