"""The rows of the list, made of native profiles, definitions and the index: tables of input and row."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.model.errors import parts_of, words
from keyturn.model.key_ids import account_of
from keyturn.model.profile import (
    Delivery,
    Failure,
    Key,
    Kind,
    Login,
    Origin,
    Profile,
    Renew,
    Rotation,
    RotationState,
    Session,
    VaultState,
)
from keyturn.profiles import status
from keyturn.profiles.status import Settings, View
from keyturn.storage.index import (
    DeliveryRecord,
    Index,
    MfaDeviceState,
    MfaSessionRef,
    ProfileState,
    RotationSummary,
)
from keyturn.storage.managed_profiles import ManagedProfile

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
KEY_ID = "AKIASP2TPHJSQH3FJRUX"
ROLE = "arn:aws:iam::111122223333:role/Ops"
SERIAL = "arn:aws:iam::111122223333:mfa/alice"
OTHER_SERIAL = "arn:aws:iam::111122223333:mfa/bob"
LINE = '"/opt/bin/keyturn" credential-process {}'
SESSION = Session("ASIAEXAMPLE00000001", NOW - HOUR, NOW + HOUR)


def native(name: str = "ci", **more: Any) -> Profile:
    return replace(Profile(name, kind=Kind.UNKNOWN, origin=Origin("config", 3)), **more)


def user(name: str = "ci", **more: Any) -> ManagedProfile:
    return replace(ManagedProfile(name, Kind.IAM_KEY, key=name), **more)


def role(name: str = "ops", **more: Any) -> ManagedProfile:
    return replace(ManagedProfile(name, Kind.ROLE, role_arn=ROLE, source_profile="ci"), **more)


def view(
    *parts: Profile | ManagedProfile,
    index: Index | None = None,
    settings: Settings | None = None,
    **more: Any,
) -> View:
    """Return a view of some native profiles and definitions, each of which has its process line unless
    `settings` differs."""
    natives = {profile.name: profile for profile in parts if isinstance(profile, Profile)}
    definitions = {profile.name: profile for profile in parts if isinstance(profile, ManagedProfile)}
    lines = {name: {"credential_process": LINE.format(name)} for name in definitions}
    return View(natives, definitions, index or Index(), lines if settings is None else settings, NOW, **more)


def row(name: str, shown: View) -> Profile:
    return next(profile for profile in status.rows(shown) if profile.name == name)


# The list


def test_rows_are_in_the_order_of_the_files_and_managed_ones_without_a_section_follow() -> None:
    shown = view(native("z"), native("ci"), native("a"), user("new"), user("ci"), user("also"))
    found = [(profile.name, profile.managed) for profile in status.rows(shown)]
    assert found == [("z", False), ("ci", True), ("a", False), ("new", True), ("also", True)]


def test_a_native_row_takes_from_the_index_what_the_files_cannot_tell() -> None:
    failure = Failure(NOW - HOUR, "AccessDenied")
    known = ProfileState(session=SESSION, last_use=NOW - DAY, failure=failure)
    found = row("ci", view(native(), index=Index(profiles={"ci": known})))
    assert (found.session, found.last_use, found.failure) == (SESSION, NOW - DAY, failure)


def test_a_native_row_keeps_its_own_session_where_the_index_knows_none() -> None:
    assert row("ci", view(native(session=SESSION))).session == SESSION


def test_a_native_key_is_measured_against_ninety_days() -> None:
    old = row("ci", view(native(key=Key(KEY_ID, created=NOW - 90 * DAY))))
    young = row("ci", view(native(key=Key(KEY_ID, created=NOW - 67 * DAY))))
    assert (old.rotation.state, old.rotation.limit_days) == (RotationState.OVERDUE, 90)
    assert young.rotation.state is RotationState.OK
    assert row("ci", view(native())).rotation.state is RotationState.NOT_APPLICABLE


def held(left: timedelta, key_id: str = KEY_ID, serial: str = SERIAL, **more: Any) -> Index:
    """Return an index with a device's session that has this much time left."""
    session = MfaSessionRef("ASIADEVICE000000001", NOW + left)
    return Index(devices={serial: MfaDeviceState({key_id: session})}, **more)


#: Known state, True if a user must type a code for the native role `ops`, whose source is `src`.
NATIVE_CODES: list[tuple[str, dict[str, Any], bool]] = [
    ("nothing", {}, True),
    ("its device's last code still serves", {"index": held(HOUR)}, False),
    ("its device's last code serves for a minute yet", {"index": held(timedelta(minutes=1))}, True),
    ("its device's last code serves for two minutes yet", {"index": held(timedelta(minutes=2))}, True),
    ("its device's last code serves for longer", {"index": held(timedelta(minutes=2, seconds=1))}, False),
    ("its device's last code has ended", {"index": held(-HOUR)}, True),
    ("the session of another key of that device", {"index": held(HOUR, key_id="AKIAOTHER0000000000X")}, True),
    ("the session of another device", {"index": held(HOUR, serial=OTHER_SERIAL)}, True),
    ("a program for this profile", {"code_command": lambda name, _: ["x"] if name == "ops" else []}, False),
    ("a program for another profile", {"code_command": lambda name, _: ["x"] if name == "src" else []}, True),
    ("a program for this device", {"code_command": lambda _, serial: ["x"] if serial == SERIAL else []},
     False),
    (
        "a program for another device",
        {"code_command": lambda _, serial: ["x"] if serial == OTHER_SERIAL else []},
        True,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("at_hand", "needs"), [case[1:] for case in NATIVE_CODES], ids=[case[0] for case in NATIVE_CODES]
)
def test_a_native_role_with_mfa_needs_a_person_unless_a_code_is_at_hand(
    at_hand: dict[str, Any], needs: bool
) -> None:
    source = native("src", key=Key(KEY_ID), kind=Kind.IAM_KEY)
    ops = native("ops", kind=Kind.ROLE, chain=("src",), needs_person=True)
    settings = {"ops": {"mfa_serial": SERIAL, "source_profile": "src"}, "src": {}}
    assert row("ops", view(source, ops, settings=settings, **at_hand)).needs_person is needs


def test_the_key_of_a_native_roles_source_may_be_one_that_keyturn_keeps() -> None:
    ops = native("ops", kind=Kind.ROLE, chain=("src",), needs_person=True)
    settings = {"ops": {"mfa_serial": SERIAL, "source_profile": "src"}, "src": {}}
    index = held(HOUR, keys={"entry": Key(KEY_ID)})
    managed = user("src", key="entry")
    assert not row("ops", view(ops, managed, index=index, settings=settings)).needs_person
    assert row("ops", view(ops, managed, index=held(HOUR), settings=settings)).needs_person
    assert row("ops", view(ops, replace(managed, key=None), index=index, settings=settings)).needs_person


#: Name, settings by profile, True if a user is needed.
NATIVE_CHAINS: list[tuple[str, Settings, bool]] = [
    ("a role on the way asks", {"ops": {}, "mid": {"mfa_serial": SERIAL}}, True),
    ("nobody on the way names a device", {"ops": {}, "mid": {}}, False),
    ("an empty serial is none", {"ops": {"mfa_serial": ""}, "mid": {}}, False),
    ("a source profile that is no text", {"ops": {"mfa_serial": SERIAL, "source_profile": {"a": "b"}}}, True),
    ("a profile that is none of the chain", {"ops": {}, "else": {"mfa_serial": SERIAL}}, False),
]


@pytest.mark.parametrize(
    ("settings", "needs"), [case[1:] for case in NATIVE_CHAINS], ids=[case[0] for case in NATIVE_CHAINS]
)
def test_every_native_role_on_the_way_may_ask_for_a_code(settings: Settings, needs: bool) -> None:
    ops = native("ops", kind=Kind.ROLE, chain=("mid", "src"), needs_person=True)
    assert row("ops", view(ops, settings=settings)).needs_person is needs


def test_a_serial_beside_a_plain_key_asks_nobody() -> None:
    settings = {"ci": {"mfa_serial": SERIAL}}
    assert not row("ci", view(native(needs_person=False), settings=settings)).needs_person


#: Known state, True if a user must type a code for the role `ops`, which names no device, over the user `ci`,
#: which does.
OPTIONAL_MFA: list[tuple[str, str | None, dict[str, Any], bool]] = [
    ("AWS did not deny it", None, {}, False),
    ("AWS denied it to the key", KEY_ID, {}, True),
    ("AWS denied it to an earlier key", "AKIAOTHER0000000000X", {}, False),
    ("the last code still serves", KEY_ID, {"session": HOUR}, False),
    ("the last code has ended", KEY_ID, {"session": -HOUR}, True),
    ("a program for the user", KEY_ID, {"program": "ci"}, False),
    ("a program for another profile", KEY_ID, {"program": "bo"}, True),
]


@pytest.mark.parametrize("is_managed", [True, False])
@pytest.mark.parametrize(
    ("denied", "more", "needs"), [case[1:] for case in OPTIONAL_MFA], ids=[case[0] for case in OPTIONAL_MFA]
)
def test_a_role_that_was_denied_without_mfa_needs_a_code_of_its_user(
    denied: str | None, more: dict[str, Any], needs: bool, is_managed: bool
) -> None:
    known = {"ops": ProfileState(denied_signer=denied)}
    ops: Profile | ManagedProfile = role() if is_managed else native("ops", kind=Kind.ROLE, chain=("ci",))
    shown = view(
        user(mfa_serial=SERIAL),
        ops,
        index=held(more.get("session", -HOUR), profiles=known, keys={"ci": Key(KEY_ID)}),
        settings={"ops": {"source_profile": "ci"}} if not is_managed else None,
        code_command=lambda name, _: ["x"] if name == more.get("program") else [],
    )
    assert row("ops", shown).needs_person is needs


def test_a_role_that_was_denied_needs_no_code_of_a_user_without_a_device() -> None:
    index = Index(profiles={"ops": ProfileState(denied_signer=KEY_ID)}, keys={"ci": Key(KEY_ID)})
    assert not row("ops", view(user(), role(), index=index)).needs_person


# Managed rows


def test_a_managed_role_is_shown_by_definition_file_and_index() -> None:
    known = ProfileState(
        session=SESSION, last_use=NOW - HOUR, failure=Failure(NOW, "x"), accepted_seconds=3600
    )
    profile = role(
        deliver_as="short", delivery=Delivery.CREDENTIALS_FILE, renew=Renew.OFF, duration_seconds=7200,
        mfa_serial=SERIAL, external_id="x1",
    )  # fmt: skip
    shown = view(
        native("ops", region="eu-west-1", origin=Origin("config", 9)), user(), profile,
        index=Index(profiles={"ops": known}, keys={"ci": Key(KEY_ID)}),
    )  # fmt: skip
    assert row("ops", shown) == Profile(
        name="ops", managed=True, kind=Kind.ROLE, source="ci", account="111122223333", account_derived=False,
        role=ROLE, region="eu-west-1", key=None, session=SESSION, delivery=Delivery.CREDENTIALS_FILE,
        deliver_as="short", renew=Renew.OFF, rotation=Rotation(), mfa_serial=SERIAL, chain=("ci",),
        mfa_session=(KEY_ID, SERIAL),
        credential_source=None, duration_seconds=3600, role_settings=(("external_id", "x1"),),
        delivers_key=False,
        plaintext_key=False, last_use=NOW - HOUR, problem=None, failure=Failure(NOW, "x"), needs_person=True,
        origin=Origin("config", 9),
    )  # fmt: skip


def test_a_managed_user_is_shown_with_its_key_and_its_own_policy() -> None:
    key = Key(KEY_ID, created=NOW - 30 * DAY, last_used=NOW - DAY)
    profile = user(key="entry", rotation_days=30, session_none=True, mfa_serial=SERIAL, duration_seconds=900)
    index = Index(profiles={"ci": ProfileState(key_consent=True)}, keys={"entry": key})
    found = row("ci", view(profile, index=index))
    assert (found.key, found.source, found.chain, found.role) == (key, "entry", (), None)
    assert found.rotation == Rotation(RotationState.OVERDUE, 30, 30, NOW - DAY, None)
    assert (found.region, found.origin, found.session, found.duration_seconds) == (None, None, None, 900)
    assert found.delivers_key
    assert not found.needs_person, "a key that is handed out itself takes no code"
    assert not found.lacks_consent
    found = row("ci", view(profile, index=replace(index, profiles={})))
    assert (found.delivers_key, found.lacks_consent, found.needs_person) == (False, True, True)


def test_a_role_beside_its_key_shows_no_rotation_of_its_own() -> None:
    profile = role("both", key="entry", source_profile="both")
    found = row("both", view(profile, index=Index(keys={"entry": Key(KEY_ID, created=NOW - 400 * DAY)})))
    assert (found.key, found.rotation.state) == (None, RotationState.NOT_APPLICABLE)


def test_what_the_definition_lacks_is_a_problem_before_what_the_files_lack() -> None:
    found = row("ops", view(role(source_profile="gone"), settings={}))
    assert "gone" in (found.problem or "")
    assert "keyturn deliver" not in (found.problem or "")


def test_a_line_that_is_gone_is_a_problem() -> None:
    assert "keyturn deliver ci --to credential-process" in (
        row("ci", view(user(), settings={})).problem or ""
    )


def test_while_a_file_cannot_be_read_nobody_is_told_that_a_line_is_gone() -> None:
    assert row("ci", view(user(), settings={}, files_readable=False)).problem is None
    assert row("ops", view(role(source_profile="gone"), files_readable=False)).problem is not None


#: Name, definition, key, account, True if the account was only derived.
ACCOUNTS: list[tuple[str, ManagedProfile, Key | None, str | None, bool]] = [
    ("of the role", role("x"), Key(KEY_ID), "111122223333", False),
    ("no account in it", role("x", role_arn="arn:aws:iam:::role/Ops"), None, None, False),
    ("no digits", role("x", role_arn="arn:aws:iam::me:role/Ops"), None, None, False),
    ("no ARN", role("x", role_arn="arn:aws:iam::111122223333"), None, None, False),
    ("colons in the resource", role("x", role_arn="arn:aws:iam::111122223333:role/a:b"), None,
     "111122223333", False),
    ("no key known", user("x"), None, None, False),
    ("a user that AWS named", user("x"), Key(KEY_ID, user="arn:aws:iam::444455556666:user/u"),
     "444455556666", False),
    ("only a key id", user("x"), Key(KEY_ID), account_of(KEY_ID), True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("profile", "key", "account", "derived"),
    [case[1:] for case in ACCOUNTS],
    ids=[case[0] for case in ACCOUNTS],
)
def test_the_account_is_the_roles_else_the_users_else_what_the_key_id_tells(
    profile: ManagedProfile, key: Key | None, account: str | None, derived: bool
) -> None:
    index = Index(keys={"x": key} if key else {})
    found = row("x", view(user(), profile, index=index))
    assert (found.account, found.account_derived) == (account, derived)


def rotation(entries: tuple[str, ...], *, is_undoing: bool = False) -> RotationSummary:
    return RotationSummary("ci", entries, KEY_ID, None, "stored", is_undoing, NOW, None)


#: The rotations under way, and the halt of that of the entry `ci`.
WAITS: list[tuple[dict[str, RotationSummary], str | None]] = [
    ({}, None),
    ({"u": rotation(("ci",))}, "stored"),
    ({"u": rotation(("other", "ci"))}, "stored"),
    ({"u": rotation(("other",))}, None),
    ({"v": rotation(("other",)), "u": rotation(("ci",), is_undoing=True)}, "undoing"),
]


@pytest.mark.parametrize(("rotations", "waits"), WAITS, ids=range(len(WAITS)))
def test_a_rotation_under_way_shows_at_every_profile_of_its_key(
    rotations: dict[str, RotationSummary], waits: str | None
) -> None:
    index = Index(keys={"ci": Key(KEY_ID, created=NOW)}, rotations=rotations)
    found = row("ci", view(user(), index=index)).rotation
    assert found.pending_step == waits
    assert (found.state is RotationState.IN_PROGRESS) is (waits is not None)


# Codes of managed profiles

KEYS = {"ci": Key(KEY_ID)}


def known(**profiles: ProfileState) -> Index:
    return held(HOUR, keys=KEYS, profiles=profiles)


def lasting(left: timedelta | None) -> ProfileState:
    return ProfileState(session=Session("ASIA", NOW - HOUR, None if left is None else NOW + left))


CONSENT = Index(profiles={"ops": ProfileState(key_consent=True)})
COMMAND = {"code_command": lambda name, serial: ["x"] if (name, serial) == ("ops", SERIAL) else []}
#: Name, definitions, other known state, True if refreshing `ops` needs a user.
MANAGED_CODES: list[tuple[str, tuple[ManagedProfile, ...], dict[str, Any], bool]] = [
    ("no device", (user(), role()), {}, False),
    ("a device", (user(), role(mfa_serial=SERIAL)), {}, True),
    ("a device, by a program", (user(), role(mfa_serial=SERIAL)), COMMAND, False),
    ("another device than the program's", (user(), role(mfa_serial=OTHER_SERIAL)), COMMAND, True),
    ("a device whose last code serves", (user(), role(mfa_serial=SERIAL)), {"index": known()}, False),
    ("it serves another key", (user(key="k2"), role(mfa_serial=SERIAL)), {"index": known()}, True),
    ("its own key", (role(mfa_serial=SERIAL, source_profile="ops", key="ci"),), {"index": known()}, False),
    ("an hour is what a session gives", (user(), role(mfa_serial=SERIAL, duration_seconds=3600)),
     {"index": known()}, False),
    ("more takes a code", (user(), role(mfa_serial=SERIAL, duration_seconds=3601)), {"index": known()}, True),
    (
        "AWS allowed an hour only",
        (user(), role(mfa_serial=SERIAL, duration_seconds=7200)),
        {"index": known(ops=ProfileState(accepted_seconds=3600))},
        False,
    ),
    ("the user's device is not asked for a role", (user(mfa_serial=SERIAL), role()), {}, False),
    ("a role on the way asks", (user(), role("mid", mfa_serial=SERIAL), role(source_profile="mid")), {},
     True),
    (
        "a role on the way is served",
        (user(), role("mid", mfa_serial=SERIAL), role(source_profile="mid")),
        {"index": known()},
        False,
    ),
    ("a key handed out", (user("ops", mfa_serial=SERIAL, session_none=True),), {"index": CONSENT}, False),
    ("a key without consent", (user("ops", key="ci", mfa_serial=SERIAL, session_none=True),), {}, True),
    ("a user", (user("ops", key="ci", mfa_serial=SERIAL),), {}, True),
    ("a user by a program", (user("ops", key="ci", mfa_serial=SERIAL),), COMMAND, False),
    ("a user without a session, whose code serves", (user("ops", key="ci", mfa_serial=SERIAL),),
     {"index": known()}, False),
    (
        "a user whose session ends before the device's",
        (user("ops", key="ci", mfa_serial=SERIAL),),
        {"index": known(ops=lasting(HOUR / 2))},
        False,
    ),
    (
        "a user whose session is the device's",
        (user("ops", key="ci", mfa_serial=SERIAL),),
        {"index": known(ops=lasting(HOUR))},
        True,
    ),
    (
        "a user whose session has no known end",
        (user("ops", key="ci", mfa_serial=SERIAL),),
        {"index": known(ops=lasting(None))},
        True,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("definitions", "at_hand", "needs"),
    [case[1:] for case in MANAGED_CODES],
    ids=[case[0] for case in MANAGED_CODES],
)
def test_a_managed_profile_needs_a_person_where_only_one_can_give_the_code(
    definitions: tuple[ManagedProfile, ...], at_hand: dict[str, Any], needs: bool
) -> None:
    assert row("ops", view(*definitions, **at_hand)).needs_person is needs


def test_a_role_behind_a_native_key_is_served_by_that_keys_last_code() -> None:
    index = held(HOUR)
    source = native("ci", kind=Kind.IAM_KEY, key=Key(KEY_ID))
    assert not row("ops", view(source, role(mfa_serial=SERIAL), index=index)).needs_person
    bare = replace(source, key=None)
    assert row("ops", view(bare, role(mfa_serial=SERIAL), index=index)).needs_person


# Sources

KEYED = native("nat", kind=Kind.IAM_KEY, source="nat", key=Key(KEY_ID))
SSO = native("sso", kind=Kind.SSO_ROLE, source="corp")
CHAINED = native("far", kind=Kind.ROLE, source="nat", chain=("hop", "nat"))
#: Name, known state, then source label, profiles passed and a part of the problem of `ops`.
SOURCES: list[tuple[str, tuple[Profile | ManagedProfile, ...], str | None, tuple[str, ...], str | None]] = [
    ("a managed user", (user(),), "ci", ("ci",), None),
    ("a managed user's entry", (user(key="entry"),), "entry", ("ci",), None),
    ("a role of a role", (user(), role("mid"), role(source_profile="mid")), "ci", ("mid", "ci"), None),
    ("itself, with a key", (role(source_profile="ops", key="entry"),), "entry", (), None),
    ("no source profile, with a key", (role(source_profile=None, key="entry"),), "entry", (), None),
    ("another's key before its own", (user(), role(key="entry")), "ci", ("ci",), None),
    ("a role with a key on the way", (role("mid", key="k"), role(source_profile="mid")), "k", ("mid",), None),
    ("whoever asks", (role(source_profile=None, credential_source="Environment"),), "Environment", (), None),
    (
        "whoever asks, further on",
        (role("mid", source_profile=None, credential_source="EcsContainer"), role(source_profile="mid")),
        "EcsContainer",
        ("mid",),
        None,
    ),
    ("a user's own key, whatever source it names", (user("ops", source_profile="gone"),), "ops", (), None),
    ("nothing", (role(source_profile=None),), None, (), "credential source"),
    ("itself, without a key", (role(source_profile="ops"),), None, (), "ops"),
    ("a circle", (role("mid", source_profile="ops"), role(source_profile="mid")), None, ("mid",), "ops"),
    ("a circle further on",
     (role("a", source_profile="b"), role("b", source_profile="a"), role(source_profile="a")), None,
     ("a", "b"), "a"),
    ("a native key", (KEYED, role(source_profile="nat")), "nat", ("nat",), None),
    ("a native sign-in", (SSO, role(source_profile="sso")), "corp", ("sso",), None),
    ("a native without a label", (replace(SSO, source=None), role(source_profile="sso")), "sso", ("sso",),
     None),
    ("a native chain", (CHAINED, role(source_profile="far")), "nat", ("far", "hop", "nat"), None),
    ("none by that name", (role(source_profile="gone"),), None, ("gone",), "gone"),
    ("a native without credentials", (native("bare"), role(source_profile="bare")), None, ("bare",), "bare"),
    ("a broken native", (replace(SSO, problem="no such session"), role(source_profile="sso")), None,
     ("sso",), "no such session"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "source", "chain", "problem"), [case[1:] for case in SOURCES], ids=[case[0] for case in SOURCES]
)
def test_a_managed_roles_source_is_found_through_its_chain(
    parts: tuple[Profile | ManagedProfile, ...],
    source: str | None,
    chain: tuple[str, ...],
    problem: str | None,
) -> None:
    found = row(
        "ops", view(*(parts if any(profile.name == "ops" for profile in parts) else (*parts, role())))
    )
    assert (found.source, found.chain) == (source, chain)
    assert found.problem is None if problem is None else problem in (found.problem or "")


#: Name, known state, then the credential source at the end of the chain of `ops`.
ASKERS: list[tuple[str, tuple[Profile | ManagedProfile, ...], str | None]] = [
    ("nothing by that name", (), None),
    ("a definition's own", (role(source_profile=None, credential_source="Environment"),), "Environment"),
    ("a key", (user("ops"),), None),
    ("a role beside its key",
     (role(source_profile="far", key="k"), native("far", credential_source="Environment")), None),
    ("neither", (role(source_profile=None),), None),
    ("a managed role on the way",
     (role(source_profile="mid"), role("mid", source_profile=None, credential_source="EcsContainer")),
     "EcsContainer"),
    ("a native at the end",
     (role(source_profile="far"), native("far", credential_source="Ec2InstanceMetadata")),
     "Ec2InstanceMetadata"),
    ("a native of a chain",
     (native("ops", chain=("mid", "far")), native("far", credential_source="Environment")), "Environment"),
    ("a native chain with one of its own",
     (native("ops", chain=("far",), credential_source="EcsContainer"), native("far")), "EcsContainer"),
    ("a native key", (native("ops", key=Key(KEY_ID)),), None),
    ("a native chain into a managed one",
     (native("ops", chain=("mid",)), role("mid", source_profile=None, credential_source="Environment")),
     "Environment"),
    ("a source that is not there", (role(source_profile="gone"),), None),
    ("a circle", (role(source_profile="mid"), role("mid", source_profile="ops")), None),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "source"), [case[1:] for case in ASKERS], ids=[case[0] for case in ASKERS])
def test_the_credential_source_is_what_the_chain_ends_in(
    parts: tuple[Profile | ManagedProfile, ...], source: str | None
) -> None:
    shown = view(*parts)
    assert status.caller_credential_source("ops", shown.natives, shown.definitions) == source
    if any(isinstance(profile, ManagedProfile) and profile.name == "ops" for profile in parts):
        assert row("ops", shown).credential_source == source


def test_what_a_role_asks_besides_stands_in_the_order_and_words_of_its_definition() -> None:
    profile = role(
        policy_arns=("arn:1", "arn:2"), policy="{}", tags={"team": "ops", "stage": "prod"},
        transitive_tags=("team",), source_identity="jo", role_session_name="me", external_id="x",
    )  # fmt: skip
    assert status.role_settings(profile) == (
        ("external_id", "x"),
        ("role_session_name", "me"),
        ("source_identity", "jo"),
        ("tags", "team=ops (transitive), stage=prod"),
        ("policy", "{}"),
        ("policy_arns", "arn:1, arn:2"),
    )
    assert status.role_settings(role()) == ()


# Delivery

CLEAR = native("ci", kind=Kind.IAM_KEY, plaintext_key=True)
OURS = {"ci": {"credential_process": LINE.format("ci")}}
PROCESS = native("ci", kind=Kind.PROCESS)
TO_FILE = user(delivery=Delivery.CREDENTIALS_FILE)
TO_DEFAULT = replace(TO_FILE, deliver_as="default")
PUT = DeliveryRecord("credentials", "ci", ("ASIA1", "ASIA2"), NOW)
PUT_DEFAULT = replace(PUT, section="default")
#: Name, definition, native profile, settings, delivery record, parts of the problem (none: there is no
#: problem).
DELIVERIES: list[
    tuple[str, ManagedProfile, Profile | None, Settings, DeliveryRecord | None, tuple[str, ...]]
] = [
    ("its line is there", user(), PROCESS, OURS, None, ()),
    ("its line by another path", user(), PROCESS,
     {"ci": {"credential_process": "keyturn credential-process ci"}}, None, ()),
    ("no section at all", user(), None, {}, None, ("keyturn deliver ci --to credential-process",)),
    ("a section without the line", user(), native("ci"), {"ci": {"region": "x"}}, None,
     ("keyturn deliver ci --to credential-process",)),
    ("another program's line", user(), PROCESS, {"ci": {"credential_process": "tool ci"}}, None,
     ("keyturn deliver ci --to credential-process",)),
    ("a line that is a nested block", user(), native("ci"), {"ci": {"credential_process": {"a": "b"}}}, None,
     ("keyturn deliver ci --to",)),
    ("its line under another name", user(), None, {"new": {"credential_process": LINE.format("ci")}}, None,
     ("in profile new", "keyturn release ci")),
    ("another's line elsewhere", user(), None, {"new": {"credential_process": LINE.format("new")}}, None,
     ("keyturn deliver ci --to",)),
    ("a key in clear", user(), CLEAR, OURS, None, ("config, line 3",)),
    ("a key in clear, nowhere to be found", user(), replace(CLEAR, origin=None), OURS, None,
     ("the shared files",)),
    ("a key in clear beside the credentials file", TO_FILE, CLEAR, {}, PUT, ("config, line 3",)),
    ("a key in clear, delivered nowhere", user(delivery=Delivery.NOWHERE), CLEAR, {}, None,
     ("config, line 3",)),
    ("a role again", user(), native("ci", kind=Kind.ROLE), OURS, None,
     ("config, line 3", "as role", "keyturn release ci", "keyturn adopt ci")),
    ("a sign-in again, nowhere to be found", user(), native("ci", kind=Kind.SSO_ROLE, origin=None), OURS,
     None, ("as sso-role", "keyturn adopt ci")),
    ("a kind of its own, delivered nowhere", user(delivery=Delivery.NOWHERE), native("ci", kind=Kind.ROLE),
     {}, None, ()),
    ("our session beside the line of another delivery", TO_DEFAULT, native("ci", kind=Kind.STATIC_SESSION),
     {**OURS, "default": {"aws_access_key_id": "ASIA1"}}, PUT_DEFAULT, ()),
    ("nowhere", user(delivery=Delivery.NOWHERE), None, {}, None, ()),
    ("the credentials file, nothing delivered yet", TO_FILE, None, {}, None, ()),
    ("the credentials file, our key", TO_FILE, native("ci", kind=Kind.STATIC_SESSION),
     {"ci": {"aws_access_key_id": "ASIA1"}}, PUT, ()),
    ("the credentials file, our key of a write under way", TO_FILE, None,
     {"ci": {"aws_access_key_id": "ASIA2"}}, PUT, ()),
    ("the credentials file, another key", TO_FILE, None, {"ci": {"aws_access_key_id": "ASIA9"}}, PUT,
     ("[ci]", "keyturn deliver ci --to credentials-file")),
    ("the credentials file, no section", TO_FILE, None, {}, PUT,
     ("[ci]", "keyturn deliver ci --to credentials-file")),
    ("under another name, our key", TO_DEFAULT, None, {**OURS, "default": {"aws_access_key_id": "ASIA1"}},
     PUT_DEFAULT, ()),
    ("under another name, no key", TO_DEFAULT, None, OURS, PUT_DEFAULT,
     ("[default]", "keyturn deliver ci --to credentials-file --as default")),
    ("under another name, no line", TO_DEFAULT, None, {"default": {"aws_access_key_id": "ASIA1"}},
     PUT_DEFAULT, ("keyturn deliver ci --to",)),
    ("a session left behind by an older delivery", user(), PROCESS, OURS, PUT, ()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("profile", "found", "settings", "delivered", "parts"),
    [case[1:] for case in DELIVERIES],
    ids=[case[0] for case in DELIVERIES],
)
def test_why_aws_clients_would_not_find_what_is_delivered(
    profile: ManagedProfile,
    found: Profile | None,
    settings: Settings,
    delivered: DeliveryRecord | None,
    parts: tuple[str, ...],
) -> None:
    problem = status.delivery_problem(profile, found, settings, ProfileState(delivered=delivered))
    assert (problem is not None) is bool(parts), problem
    assert [part for part in parts if part not in (problem or "")] == [], problem


def test_a_delivery_under_its_own_name_is_redone_without_another() -> None:
    problem = status.delivery_problem(TO_FILE, None, {}, ProfileState(delivered=PUT)) or ""
    assert problem.endswith("keyturn deliver ci --to credentials-file")


def test_a_key_that_is_nowhere_to_be_found_is_given_no_line() -> None:
    for profile in (replace(CLEAR, origin=None), native("ci", kind=Kind.ROLE, origin=None)):
        problem = status.delivery_problem(user(), profile, OURS, ProfileState()) or ""
        assert "line 3" not in problem
        assert "None" not in problem


@pytest.mark.parametrize(
    ("to", "as_name", "needs"),
    [
        (Delivery.CREDENTIAL_PROCESS, None, True),
        (Delivery.CREDENTIALS_FILE, None, False),
        (Delivery.CREDENTIALS_FILE, "default", True),
        (Delivery.NOWHERE, None, False),
        (Delivery.NATIVE, None, False),
    ],
)
def test_a_profiles_own_section_holds_the_line_unless_its_session_is_there(
    to: Delivery, as_name: str | None, needs: bool
) -> None:
    assert status.needs_process_line(user(delivery=to, deliver_as=as_name)) is needs


# `list --json`


def test_an_object_of_list_json_is_null_where_nothing_is_known() -> None:
    assert status.row_table(Profile("ci"), VaultState.OPEN, NOW) == {
        "name": "ci", "managed": False, "kind": "unknown", "source": None, "account": None,
        "account_derived": False, "role": None, "region": None, "key_id": None, "state": "none",
        "issued": None,
        "expires": None, "login": None, "delivery": "native", "renew": None,
        "rotation": {"state": "n/a", "age_days": None, "limit_days": None, "last_used": None, "waits": None},
        "problem": None, "origin": None,
    }  # fmt: skip


def test_an_object_of_list_json_has_all_that_is_known() -> None:
    profile = Profile(
        "ops", managed=True, kind=Kind.ROLE, source="ci", account="1", account_derived=True, role=ROLE,
        region="eu-west-1", session=SESSION, delivery=Delivery.NOWHERE, renew=Renew.AUTO,
        rotation=Rotation(RotationState.DUE, 70, 90, NOW - DAY, "stored"), problem="x",
        login=Login("acme", Kind.SSO_ROLE, NOW - DAY, True, NOW + timedelta(seconds=1)),
        origin=Origin("config", 7),
    )  # fmt: skip
    table = status.row_table(profile, VaultState.OPEN, NOW)
    assert table == {
        "name": "ops", "managed": True, "kind": "role", "source": "ci", "account": "1",
        "account_derived": True, "role": ROLE, "region": "eu-west-1", "key_id": "ASIAEXAMPLE00000001",
        "state": "broken", "issued": "2026-11-23T11:00:00Z", "expires": "2026-11-23T13:00:00Z",
        "login": {
            "name": "acme", "state": "renewable", "until": "2026-11-22T12:00:00Z",
            "renewable_until": "2026-11-23T12:00:01Z",
        },
        "delivery": "nowhere", "renew": "auto",
        "rotation": {
            "state": "due", "age_days": 70, "limit_days": 90, "last_used": "2026-11-22T12:00:00Z",
            "waits": "stored"
        },
        "problem": "x", "origin": {"file": "config", "line": 7},
    }  # fmt: skip
    plain = json.dumps(table)
    assert json.loads(plain) == table
    assert {type(value) for value in (table["kind"], table["state"], table["delivery"], table["renew"])} == {
        str
    }


@pytest.mark.parametrize(
    ("expires", "is_renewable", "expected"),
    [
        (None, True, (None, "ASIA1", None)),
        (NOW + DAY, True, ("fresh", "ASIA1", "2026-11-24T12:00:00Z")),
        (NOW - DAY, True, ("none", None, None)),
        (NOW - DAY, False, ("expired", "ASIA1", "2026-11-22T12:00:00Z")),
    ],
    ids=["unknown", "valid", "renewable", "ended"],
)
def test_list_json_tells_of_a_session_that_a_sign_in_can_replace_as_of_none(
    expires: datetime | None, is_renewable: bool, expected: tuple[str | None, ...]
) -> None:
    login = Login("acme", Kind.SSO_ROLE, NOW - DAY, is_renewable)
    row = Profile("dev", kind=Kind.SSO_ROLE, session=Session("ASIA1", None, expires), login=login)
    table = status.row_table(row, VaultState.OPEN, NOW)
    assert (table["state"], table["key_id"], table["expires"]) == expected


OWN, CACHED = Session("ASIAOWN", NOW - DAY, NOW), Session("ASIACACHED", None, NOW + DAY)
#: keyturn's own session of a native profile, that of AWS tools, the one in the list.
SESSIONS: list[tuple[Session | None, Session | None, Session | None]] = [
    (None, None, None),
    (OWN, None, OWN),
    (None, CACHED, CACHED),
    (OWN, CACHED, CACHED),
    (replace(OWN, expires=NOW + 2 * DAY), CACHED, replace(OWN, expires=NOW + 2 * DAY)),
    (OWN, replace(CACHED, expires=None), OWN),
]


@pytest.mark.parametrize(("own", "cached", "shown"), SESSIONS, ids=range(len(SESSIONS)))
def test_a_native_profile_has_the_session_that_expires_last(
    own: Session | None, cached: Session | None, shown: Session | None
) -> None:
    native = Profile("dev", kind=Kind.SSO_ROLE, session=cached)
    index = Index()
    index.update("dev", session=own)
    view = status.View({"dev": native}, {}, index, {}, NOW)
    assert status.row_of("dev", view).session == shown


#: Session, own key, further fields; then the displayed ID.
KEY_IDS: list[tuple[Session | None, Key | None, dict[str, bool], str | None]] = [
    (None, None, {}, None),
    (None, Key(KEY_ID), {}, KEY_ID),
    (SESSION, Key(KEY_ID), {}, SESSION.key_id),
    (Session("", None, NOW), Key(KEY_ID), {}, KEY_ID),
    (SESSION, Key(KEY_ID), {"delivers_key": True}, KEY_ID),
    (SESSION, Key(KEY_ID), {"plaintext_key": True}, KEY_ID),
    (SESSION, None, {"delivers_key": True}, SESSION.key_id),
]


@pytest.mark.parametrize(("session", "key", "more", "shown"), KEY_IDS, ids=range(len(KEY_IDS)))
def test_the_key_id_is_that_of_what_is_delivered(
    session: Session | None, key: Key | None, more: dict[str, bool], shown: str | None
) -> None:
    profile = replace(Profile("ci", session=session, key=key), **more)  # type: ignore[arg-type]  # flags by name
    assert status.row_table(profile, VaultState.OPEN, NOW)["key_id"] == shown


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (native(kind=Kind.IAM_KEY), None),
        (native(kind=Kind.ROLE, chain=("base",)), None),
        (native(kind=Kind.ROLE, credential_source="Environment"), None),
        (native(kind=Kind.IAM_KEY, managed=True), "it is already managed by keyturn"),
        (native(kind=Kind.IAM_KEY, problem="its secret is empty"), "its secret is empty"),
        (native(kind=Kind.MFA_SESSION), "it has only temporary credentials, which expire"),
        (native(kind=Kind.STATIC_SESSION), "it has only temporary credentials, which expire"),
        (native(kind=Kind.ROLE), "a profile of type role has no long-term secret in the shared files"),
        (
            native(kind=Kind.SSO_ROLE),
            "a profile of type sso-role has no long-term secret in the shared files",
        ),
        (native(), "a profile of type unknown has no long-term secret in the shared files"),
    ],
)
def test_a_profile_with_a_long_term_secret_or_a_role_can_be_adopted(row: Profile, why: str | None) -> None:
    refusal = status.why_not_adoptable(row)
    assert (refusal and refusal.why) == why


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        (native(), "Add credentials to it first"),
        (native(kind=Kind.PROCESS), "Refresh it without adopting: keyturn refresh ci"),
        (native(kind=Kind.MFA_SESSION), "Adopt the profile that they were made from"),
        (native(problem="its secret is empty"), "Correct the profile in the shared files first"),
    ],
)
def test_a_profile_that_cannot_be_adopted_says_the_next_step(row: Profile, hint: str) -> None:
    refusal = status.why_not_adoptable(row)
    assert refusal is not None
    assert words(parts_of(refusal.hint)) == hint


_OTHERS_KEY = ("it has no access key of its own", "Rotate its source: keyturn rotate base")
_NO_KEY = ("the vault has no access key for it", "Run: keyturn show ci")


@pytest.mark.parametrize(
    ("row", "refusal"),
    [
        (native(kind=Kind.IAM_KEY, managed=True, source="ci"), None),
        (native(kind=Kind.ROLE, managed=True, source="ci"), None),
        (native(kind=Kind.ROLE, managed=True, source="base", chain=("base",)), _OTHERS_KEY),
        (native(kind=Kind.ROLE, source="base", chain=("base",)), _OTHERS_KEY),
        (native(kind=Kind.ROLE, source="Environment", credential_source="Environment"), _NO_KEY),
        (
            native(kind=Kind.ROLE, managed=True, source="Environment", credential_source="Environment"),
            _NO_KEY,
        ),
        (native(kind=Kind.SSO_ROLE, source="corp"), _NO_KEY),
        (native(rotation=Rotation(pending_step="verify")), None),
        (
            native(kind=Kind.IAM_KEY, plaintext_key=True, source="ci"),
            (
                "its key is a plaintext key in the shared files, where a new one could get lost",
                "Adopt it first: keyturn adopt ci",
            ),
        ),
    ],
)
def test_a_profile_with_its_own_key_in_the_vault_can_be_rotated(
    row: Profile, refusal: tuple[str, str] | None
) -> None:
    found = status.why_not_rotatable(row)
    assert (found and (found.why, words(parts_of(found.hint)))) == refusal
