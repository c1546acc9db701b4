"""Warnings before an adoption: the roles whose sessions are, or may be, shorter than they are defined."""

from __future__ import annotations

import pytest

from tests.core.operations.conftest import Bench

LONG = "duration_seconds = 14400"
CHAINED = "role chaining, so AWS allows 1 h instead of 14400 s"
OPTIONAL = "if it requires MFA, its sessions last 1 h instead of 14400 s, unless each gets a code of its own"
SERIAL = "mfa_serial = arn:aws:iam::111122223333:mfa/alice"

#: Source profile, further settings of the role, profiles adopted before, the warning or None.
CASES: list[tuple[str, str, tuple[str, ...], str | None]] = [
    ("acme-build", LONG, (), None),
    ("acme-build", LONG, ("acme-build",), None),
    ("acme-build", "", ("acme-build",), None),
    ("acme-hub", LONG, ("acme-build",), CHAINED),
    ("acme-alice", LONG, (), OPTIONAL),
    ("acme-alice", LONG, ("acme-alice",), OPTIONAL),
    ("acme-alice", f"{LONG}\n{SERIAL}", ("acme-alice",), None),
    ("acme-alice", "", ("acme-alice",), None),
]


@pytest.mark.parametrize(("source", "settings", "adopted", "expected"), CASES)
def test_a_role_tells_why_its_sessions_are_shorter(
    bench: Bench, source: str, settings: str, adopted: tuple[str, ...], expected: str | None
) -> None:
    if adopted:
        bench.adopt(*adopted)
    with bench.config.open("a") as file:
        file.write(
            f"\n[profile long]\nrole_arn = arn:aws:iam::111122223333:role/Long\nsource_profile = {source}\n"
            f"{settings}\n"
        )
    found = [line for line in bench.service.plan_adopt(["long"]).warnings if line.startswith("long: ")]
    assert found == ([f"long: {expected}"] if expected else [])
