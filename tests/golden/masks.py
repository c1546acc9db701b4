"""Replaces everything that differs from one recording to the next by names that stay: numbered by first
appearance, so that the same thing in two places still shows as the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

_SECRET_HOLDERS = re.compile(
    r'(?:"(?:secret|SecretAccessKey)\\?": ?\\?"'
    r"|aws_secret_access_key ?= ?\"?|AWS_SECRET_ACCESS_KEY[= ]\"?'?)([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+])"
)
_LONG_TERM = re.compile(r"AKIA[A-Z2-7]{16}")
_PARTS = {
    "identity": r"AGE-SECRET-KEY-1[0-9A-Z]{58}",
    "recipient": r"age1[0-9a-z]{58}",
    "token": r"IQoJb3JpZ2luX2Vj[A-Za-z0-9+/=]+",
    "key": r"(?:AKIA|ASIA)[A-Z2-7]{16}",
    "masked": r"(?:AKIA|ASIA)(?:…|\\u2026)[A-Z2-7]{4}\b",
    "principal": r"(?:AIDA|AROA)[A-Z2-7]{17}",
    "uuid": r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
    "digest": r"\b[0-9a-f]{64}\b",
    "secret": r"(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])",
    "moment": r"(?<!\d)\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|\+00:00| UTC)",
    "of_day": r"(?<![\d:])(?:\d\d [A-Z][a-z]{2} )?\d\d:\d\d:\d\d UTC",
    "last_four": r"(?<![A-Za-z0-9/+_-])[A-Z2-7]{4}(?![A-Za-z0-9/+=_-])",
}
_ALL = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in _PARTS.items()))
_SHAPES = (
    (re.compile(r'("pid": ?)\d+'), r"\1PID"),
    (re.compile(r"\bprocess \d+\b"), "process PID"),
    (re.compile(r"\bkill -9 \d+\b"), "kill -9 PID"),
    (re.compile(r"\(\d+\.\d s\)"), "(SECONDS s)"),
    (re.compile(r'("seconds": ?)\d+(?:\.\d+)?(?:e-?\d+)?'), r"\1SECONDS"),
    (re.compile(r"(its session has )[\w ]+( left)"), r"\1TIME\2"),
    (re.compile(r"\b(\d+m) \d\ds\b"), r"\1 SECONDS"),
    # Their libraries choose the cost by what the machine does in a second.
    (re.compile(r"^-> scrypt \d+$", re.MULTILINE), "-> scrypt COST"),
    (re.compile(r"\b(used|made) \d+s ago\b"), r"\1 SECONDS ago"),
    (re.compile(r"('Content-Length', ')\d+"), r"\1SIZE"),
    (re.compile(r'("size": )\d+'), r"\1SIZE"),
    (re.compile(r'("step": )\d{6,}'), r"\1STEP"),
    (re.compile(r'("nonce": ?")[0-9a-f]{16}"'), r'\1NONCE"'),
    (re.compile(r"^(# (?:id|check)) [0-9a-f]{16}$", re.MULTILINE), r"\1 HEX"),
    (re.compile(r"(127\.0\.0\.1:)\d{4,5}\b"), r"\1PORT"),
    (re.compile(r"(127\.0\.0\.1:PORT/)[\w-]{16,}"), r"\1PATH"),
    (re.compile(r"(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=.*/)[^/\n]+$", re.MULTILINE), r"\1FILE"),
)
#: Seconds by which a moment may be earlier than the minute that it belongs to.
_EARLY = 20
_DAY = 24 * 60


class Masks:
    """The names of one recording.

    :param start: when the sandbox was ready; moments are told in minutes from there.
    :param literals: texts of this machine or this run, such as folders, with their names.
    """

    def __init__(self, start: datetime, literals: Mapping[str, str]) -> None:
        self._start = start
        self._literals = sorted(literals.items(), key=lambda item: -len(item[0]))
        self._secrets: set[str] = set()
        self._endings: set[str] = set()
        self._numbers: dict[tuple[str, str], int] = {}

    def learn(self, text: str) -> None:
        """Take note of the secrets and key ids in `text`, which look like nothing where they stand alone."""
        self._secrets |= set(_SECRET_HOLDERS.findall(text))
        self._endings |= {found[-4:] for found in _LONG_TERM.findall(text)}

    def masked(self, text: str) -> str:
        """Give `text` with every changing part replaced."""
        for literal, name in self._literals:
            text = text.replace(literal, name)
        text = _ALL.sub(self._named, text)
        for shape, instead in _SHAPES:
            text = shape.sub(instead, text)
        return text

    def _named(self, match: re.Match[str]) -> str:
        kind, found = match.lastgroup or "", match.group()
        if (kind == "last_four" and found not in self._endings) or (
            kind == "secret" and found not in self._secrets
        ):
            return found
        match kind:
            case "key":
                named = f"{found[:4]}_KEY{self._number('key', f'{found[:4]}{found[-4:]}')}"
            case "masked":
                named = f"{found[:-4]}KEY{self._number('key', f'{found[:4]}{found[-4:]}')}"
            case "last_four":
                named = f"KEY{self._number('key', f'AKIA{found}')}"
            case "moment":
                named = self._moment(found)
            case "of_day":
                named = self._of_day(found)
            case "principal":
                named = f"{found[:4]}_ID{self._number(kind, found)}"
            case _:
                named = f"{kind.upper()}{self._number(kind, found)}"
        return named

    def _moment(self, found: str) -> str:
        at = datetime.fromisoformat(found.removesuffix(" UTC"))
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        ending = next(end for end in ("Z", "+00:00", " UTC") if found.endswith(end))
        precision = (
            ".f" if "." in found else "" if found.removesuffix(ending).count(":") == 2 else "(minutes)"
        )
        return f"TIME{self._minutes(at):+d}m{precision}{found[10]}{ending.strip()}"

    def _of_day(self, found: str) -> str:
        """Name a moment that has no year, or no day either; that of AWS's bad days is always the same."""
        if found == "01 Jan 00:00:00 UTC":
            return found
        day = self._start if len(found) == len("00:00:00 UTC") else None
        text = f"{day:%d %b} {found}" if day else found
        at = datetime.strptime(f"{self._start.year} {text}", "%Y %d %b %H:%M:%S UTC").replace(tzinfo=UTC)
        return (
            f"TIME_OF_DAY{self._minutes(at) % _DAY:+d}m UTC"
            if day
            else f"DAY_TIME{self._minutes(at):+d}m UTC"
        )

    def _minutes(self, at: datetime) -> int:
        return int(((at - self._start).total_seconds() + _EARLY) // 60)

    def _number(self, kind: str, value: str) -> int:
        return self._numbers.setdefault((kind, value), 1 + sum(known == kind for known, _ in self._numbers))
