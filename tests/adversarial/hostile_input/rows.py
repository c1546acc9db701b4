"""Profiles with hostile text in every field, and files with hostile reasons for being unreadable."""

from __future__ import annotations

from keyturn.model.profile import FileProblem, Key, Kind, Origin, Profile, Session
from tests.adversarial.hostile_input.corpus import NAMES, spread
from tests.tui.sample_profiles import NOW


def hostile(name: str, nth: int) -> Profile:
    """Return a profile with `name` in every text field; the number makes it unique."""
    return Profile(
        name + str(nth),
        managed=nth % 2 == 0,
        kind=Kind.ROLE,
        source=name,
        account=name,
        role=name,
        region=name,
        key=Key("AKIA" + name, user=name, status=name),
        session=Session("ASIA" + name, NOW, NOW.replace(hour=15), arn=name),
        deliver_as=name,
        mfa_serial=name if nth % 3 == 0 else None,
        chain=(name, name),
        problem=name if nth % 7 == 0 else None,
        origin=Origin(name, 1),
    )


PROFILES = [hostile(name, nth) for nth, name in enumerate(NAMES)]
PROBLEMS = [FileProblem(f"{name}-{nth}", 3, name) for nth, name in enumerate(spread(NAMES, 25))]
