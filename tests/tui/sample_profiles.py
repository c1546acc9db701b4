"""Profiles of every kind and state, at one moment."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from keyturn.model.profile import Delivery, Key, Kind, Origin, Profile, Renew, Session, rotation_of

NOW = datetime(2026, 3, 14, 14, 5, 10, tzinfo=UTC)


def _session(minutes_left: float, life_minutes: float) -> Session:
    end = NOW + timedelta(minutes=minutes_left)
    return Session("ASIAEXAMPLE00007QX2", end - timedelta(minutes=life_minutes), end)


def _key(last_four: str, age_days: int) -> Key:
    return Key(
        f"AKIAEXAMPLE0000{last_four}", created=NOW - timedelta(days=age_days), status="Active", slots_used=1
    )


def believable() -> list[Profile]:
    """Return profiles of every kind and state."""
    deploy, personal, legacy = _key("4WQP", 94), _key("9ZLM", 12), _key("77AA", 71)
    reserved = "arn:aws:sts::111122223333:assumed-role/AWSReservedSSO_ReadOnlyAccess_0123/jo"
    mfa = "arn:aws:iam::444455556666:mfa/jo"
    process, native, auto = Delivery.CREDENTIAL_PROCESS, Delivery.NATIVE, Renew.AUTO
    place = "/home/jo/.aws/config"
    return [
        Profile(
            "acme-dev-admin",
            kind=Kind.SSO_ROLE,
            source="acme-corp",
            account="111122223333",
            role="AdminAccess",
            region="eu-west-1",
            session=_session(52, 60),
            delivery=native,
            origin=Origin(place, 36),
        ),
        Profile(
            "acme-dev-readonly",
            managed=True,
            kind=Kind.SSO_ROLE,
            source="acme-corp",
            account="111122223333",
            role="ReadOnlyAccess",
            region="eu-west-1",
            session=replace(_session(41, 60), arn=reserved),
            delivery=process,
            renew=auto,
            last_use=NOW - timedelta(minutes=3),
            origin=Origin(place, 42),
        ),
        Profile(
            "acme-prod-readonly",
            managed=True,
            kind=Kind.SSO_ROLE,
            source="acme-corp",
            account="444455556666",
            role="ReadOnlyAccess",
            region="eu-west-1",
            session=_session(4.517, 60),
            delivery=process,
            renew=Renew.ON_DEMAND,
            last_use=NOW - timedelta(minutes=9),
            origin=Origin(place, 48),
        ),
        Profile(
            "acme-sandbox", kind=Kind.SSO_ROLE, source="acme-corp", account="777788889999", role="AdminAccess"
        ),
        Profile(
            "ci-deploy",
            managed=True,
            kind=Kind.IAM_KEY,
            source="ci-deploy",
            account="444455556666",
            key=deploy,
            rotation=rotation_of(deploy, 90, NOW),
            session=_session(512, 720),
            delivery=process,
            renew=auto,
            last_use=NOW - timedelta(hours=2),
            region="eu-central-1",
            origin=Origin(place, 12),
        ),
        Profile(
            "ci-deploy-mfa",
            managed=True,
            kind=Kind.IAM_KEY,
            source="ci-deploy",
            account="444455556666",
            mfa_serial=mfa,
            needs_person=True,
            session=_session(-30, 720),
            delivery=process,
            renew=auto,
            last_use=NOW - timedelta(hours=1),
            origin=Origin(place, 18),
        ),
        Profile(
            "ci-audit",
            managed=True,
            kind=Kind.ROLE,
            source="ci-deploy",
            account="123412341234",
            role="arn:aws:iam::123412341234:role/Audit",
            chain=("ci-deploy",),
            session=_session(134, 180),
            delivery=Delivery.CREDENTIALS_FILE,
            deliver_as="default",
            renew=auto,
            origin=Origin(place, 24),
        ),
        Profile(
            "terraform",
            managed=True,
            kind=Kind.ROLE,
            source="ci-deploy",
            account="444455556666",
            role="arn:aws:iam::444455556666:role/Terraform",
            chain=("ci-deploy",),
            session=_session(-11, 60),
            delivery=process,
            renew=auto,
            last_use=NOW - timedelta(minutes=11),
            origin=Origin(place, 30),
        ),
        Profile(
            "personal",
            kind=Kind.IAM_KEY,
            source="personal",
            account="999988887777",
            key=personal,
            rotation=rotation_of(personal, 90, NOW),
            plaintext_key=True,
            account_derived=True,
            origin=Origin("/home/jo/.aws/credentials", 3),
        ),
        Profile(
            "legacy-import",
            kind=Kind.IAM_KEY,
            source="legacy-import",
            account="222233334444",
            key=legacy,
            rotation=rotation_of(legacy, 90, NOW),
            plaintext_key=True,
            origin=Origin("/home/jo/.aws/credentials", 9),
        ),
        Profile("backup", kind=Kind.STATIC_SESSION, session=Session("ASIAEXAMPLE0000BKUP", None, None)),
        Profile(
            "old-vpn",
            kind=Kind.PROCESS,
            origin=Origin(place, 60),
            problem="credential_process names /opt/vpn/creds, which does not exist",
        ),
    ]


def unmanaged() -> list[Profile]:
    """Return the same profiles before any was adopted, as they are without a vault."""
    return [
        replace(
            row, managed=False, delivery=Delivery.NATIVE, deliver_as=None, renew=None,
            plaintext_key=row.plaintext_key or (row.kind is Kind.IAM_KEY and row.key is not None),
        )
        for row in believable()
    ]  # fmt: skip


def many(number: int, now: datetime) -> list[Profile]:
    """Return `number` profiles over fifty sources, with expiry times spread over twelve hours."""
    chosen = []
    spread = random.Random(5)  # noqa: S311  # the same list each time
    for nth in range(number):
        end = now + timedelta(seconds=spread.randrange(-3600, 12 * 3600))
        chosen.append(
            Profile(
                f"team-{nth % 50:02d}-account-{nth:04d}-{('admin', 'readonly', 'deploy')[nth % 3]}",
                managed=nth % 2 == 0,
                kind=(Kind.SSO_ROLE, Kind.ROLE, Kind.IAM_KEY)[nth % 3],
                source=f"source-{nth % 50:02d}",
                account=f"{100000000000 + nth * 7}",
                role=f"Role{nth % 17}",
                region="eu-west-1",
                session=None
                if nth % 11 == 0
                else Session(f"ASIAEXAMPLE{nth:09d}", end - timedelta(hours=8), end),
                delivery=Delivery.CREDENTIAL_PROCESS if nth % 2 == 0 else Delivery.NATIVE,
                origin=Origin("/home/jo/.aws/config", 1 + nth * 6),
            )
        )
    return chosen
