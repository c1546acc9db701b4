"""`keyturn set PROFILE KEY=VALUE`: the values that each setting accepts, and the refusals. Tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keyturn.model.errors import UsageError
from keyturn.model.profile import Delivery, Kind, Renew, Rotate
from keyturn.profiles.settings import apply, check_region, parse, seconds_of, table
from keyturn.storage.managed_profiles import ManagedProfile

USER = ManagedProfile("ci", Kind.IAM_KEY, key="ci")
ROLE = ManagedProfile("ops", Kind.ROLE, role_arn="arn:aws:iam::111122223333:role/x", source_profile="ci")
POLICY_ARN = "arn:aws:iam::aws:policy/ReadOnlyAccess"
SERIAL = "arn:aws:iam::111122223333:mfa/alice"


def test_words_become_a_table_with_the_long_names() -> None:
    words = ["duration=1h", "region=", "tags=a=b,c=d"]
    assert parse(words) == {"duration_seconds": "1h", "region": "", "tags": "a=b,c=d"}
    assert parse([]) == {}


@pytest.mark.parametrize(
    "words",
    [
        ["renew"], ["unknown=1"], ["=1"], ["renew=auto", "renew=off"],
        ["duration=1h", "duration_seconds=900"],
        ["region=a", "region=b"], ["Renew=auto"],
    ],
)  # fmt: skip
def test_words_that_name_no_setting_or_one_twice_are_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parse(words)


def test_an_unknown_setting_is_answered_with_all_that_there_are() -> None:
    with pytest.raises(UsageError) as excinfo:
        parse(["colour=red"])
    assert all(name in excinfo.value.line() for name in ("region", *table(USER)))


#: Definition, setting, value, the field and its new value.
VALUES: list[tuple[ManagedProfile, str, str, dict[str, Any]]] = [
    (USER, "renew", "off", {"renew": Renew.OFF}),
    (USER, "renew", "on-demand", {"renew": Renew.ON_DEMAND}),
    (replace(USER, renew=Renew.OFF), "renew", "", {"renew": Renew.AUTO}),
    (USER, "duration_seconds", "36h", {"duration_seconds": 129_600}),
    (ROLE, "duration_seconds", "12h", {"duration_seconds": 43_200}),
    (replace(ROLE, duration_seconds=900), "duration_seconds", "", {"duration_seconds": None}),
    (USER, "session", "none", {"session_none": True}),
    (replace(USER, session_none=True), "session", "temporary", {"session_none": False}),
    (replace(USER, session_none=True), "session", "", {"session_none": False}),
    (ROLE, "session", "", {}),
    (ROLE, "session", "temporary", {}),
    (USER, "mfa_serial", SERIAL, {"mfa_serial": SERIAL}),
    (ROLE, "mfa_serial", "GAHT12345678", {"mfa_serial": "GAHT12345678"}),
    (replace(USER, mfa_serial=SERIAL), "mfa_serial", "", {"mfa_serial": None}),
    (ROLE, "external_id", "acme:1", {"external_id": "acme:1"}),
    (replace(ROLE, external_id="x1"), "external_id", "", {"external_id": None}),
    (ROLE, "role_session_name", "me", {"role_session_name": "me"}),
    (ROLE, "source_identity", "jo", {"source_identity": "jo"}),
    (ROLE, "tags", "team=ops,stage=", {"tags": {"team": "ops", "stage": ""}}),
    (ROLE, "tags", "a=b=c", {"tags": {"a": "b=c"}}),
    (replace(ROLE, tags={"a": "b"}), "tags", "", {"tags": {}}),
    (replace(ROLE, tags={"a": "1", "b": "2"}), "transitive_tags", " a , b,", {"transitive_tags": ("a", "b")}),
    (replace(ROLE, tags={"a": "1"}, transitive_tags=("a",)), "transitive_tags", "", {"transitive_tags": ()}),
    (ROLE, "policy", "/etc/policy.json", {"policy": "/etc/policy.json"}),
    (replace(ROLE, policy="x"), "policy", "", {"policy": None}),
    (ROLE, "policy_arns", f"{POLICY_ARN}, {POLICY_ARN}2", {"policy_arns": (POLICY_ARN, f"{POLICY_ARN}2")}),
    (replace(ROLE, policy_arns=(POLICY_ARN,)), "policy_arns", "", {"policy_arns": ()}),
    (USER, "rotation_days", "30", {"rotation_days": 30}),
    (USER, "rotation_days", "0", {"rotation_days": 0}),
    (USER, "rotation_days", "3650", {"rotation_days": 3650}),
    (replace(USER, rotation_days=30), "rotation_days", "", {"rotation_days": 90}),
    (USER, "rotate", "auto", {"rotate": Rotate.AUTO}),
    (replace(USER, rotate=Rotate.AUTO), "rotate", "", {"rotate": Rotate.ASK}),
    (ROLE, "rotate", "ask", {"rotate": Rotate.ASK}),
    (ROLE, "region", "eu-west-1", {}),
    (USER, "external_id", "", {}),
    (replace(USER, delivery=Delivery.CREDENTIALS_FILE), "renew", "off", {"renew": Renew.OFF}),
    (replace(USER, session_none=True), "renew", "off", {"renew": Renew.OFF}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("profile", "key", "value", "changes"), VALUES, ids=[f"{case[1]}={case[2]}" for case in VALUES]
)
def test_a_setting_changes_its_field_and_nothing_else(
    profile: ManagedProfile, key: str, value: str, changes: dict[str, Any]
) -> None:
    assert apply(profile, {key: value}) == replace(profile, **changes)


#: Definition, settings that are refused together.
REFUSED: list[tuple[ManagedProfile, dict[str, str]]] = [
    (USER, {"renew": "always"}),
    (USER, {"renew": "AUTO"}),
    (USER, {"duration_seconds": "899"}),
    (USER, {"duration_seconds": "129601"}),
    (ROLE, {"duration_seconds": "43201"}),
    (ROLE, {"duration_seconds": "14m"}),
    (ROLE, {"duration_seconds": "soon"}),
    (USER, {"session": "yes"}),
    (ROLE, {"session": "none"}),
    (replace(ROLE, key="ops"), {"session": "none"}),
    (replace(USER, key=None), {"session": "none"}),
    (replace(USER, delivery=Delivery.CREDENTIALS_FILE), {"session": "none"}),
    (USER, {"mfa_serial": "short"}),
    (USER, {"mfa_serial": "arn:aws:iam::111122223333:u2f/user/x"}),
    (ROLE, {"external_id": "a b"}),
    (ROLE, {"role_session_name": "x"}),
    (ROLE, {"source_identity": "aws:jo"}),
    (ROLE, {"tags": "team"}),
    (ROLE, {"tags": "a=1,a=2"}),
    (ROLE, {"tags": "a=1,,b=2"}),
    (ROLE, {"tags": "a=1,A=2"}),
    (ROLE, {"transitive_tags": "team"}),
    (replace(ROLE, tags={"a": "1"}, transitive_tags=("a",)), {"tags": ""}),
    (ROLE, {"policy_arns": "arn:aws:iam::1:policy/x"}),
    (ROLE, {"policy_arns": f"{POLICY_ARN},{POLICY_ARN}"}),
    (USER, {"rotation_days": "-1"}),
    (USER, {"rotation_days": "3651"}),
    (USER, {"rotation_days": "30d"}),
    (USER, {"rotation_days": "٣"}),
    (USER, {"rotate": "always"}),
    (ROLE, {"rotate": "auto"}),
    *[
        (USER, {key: value})
        for key, value in (
            ("external_id", "x1"), ("role_session_name", "me"), ("source_identity", "jo"), ("tags", "a=b"),
            ("transitive_tags", "a"), ("policy", "/x"), ("policy_arns", POLICY_ARN),
        )
    ],
]  # fmt: skip


@pytest.mark.parametrize(("profile", "wanted"), REFUSED, ids=[str(case[1]) for case in REFUSED])
def test_what_is_no_value_or_does_not_go_with_the_rest_is_refused(
    profile: ManagedProfile, wanted: dict[str, str]
) -> None:
    with pytest.raises(UsageError):
        apply(profile, wanted)


def test_settings_are_checked_as_a_whole_once_all_are_changed() -> None:
    found = apply(ROLE, {"transitive_tags": "team", "tags": "team=ops"})
    assert (found.transitive_tags, found.tags) == (("team",), {"team": "ops"})
    after_region = apply(ROLE, {"region": "x", "renew": "off"})
    assert after_region.renew is Renew.OFF, "region is passed over, not the end"


def test_a_key_that_is_returned_is_not_for_the_credentials_file_and_says_what_to_run() -> None:
    with pytest.raises(UsageError) as excinfo:
        apply(replace(USER, delivery=Delivery.CREDENTIALS_FILE), {"session": "none"})
    assert "keyturn deliver ci --to credential-process" in excinfo.value.hint


@pytest.mark.parametrize("value", ["", "eu-west-1", "us-gov-west-1", "x", "a" * 63])
def test_a_region_of_any_name_passes(value: str) -> None:
    assert check_region(value) == value


@pytest.mark.parametrize("value", ["-a", "a-", "EU", "eu west", "eu_west", "a" * 64, "ü", "eu-west-1\n"])
def test_what_can_be_no_region_is_refused(value: str) -> None:
    with pytest.raises(UsageError):
        check_region(value)


#: Text, seconds.
LENGTHS = [
    ("900", 900), ("900s", 900), ("45m", 2700), ("1h30m", 5400), ("12h", 43_200), ("1h1m1s", 3661),
    ("1h1", 3601),
    ("0", 0), ("9999h", 35_996_400),
]  # fmt: skip


@pytest.mark.parametrize(("text", "seconds"), LENGTHS)
def test_a_length_of_time_is_read(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "h", "1d", "1.5h", "-1", "30m1h", "1h 30m", " 900", "12345h", "٣h", "900\n"]
)
def test_what_is_no_length_of_time_is_refused_with_its_name(text: str) -> None:
    with pytest.raises(UsageError) as excinfo:
        seconds_of(text)
    assert excinfo.value.what == "Invalid duration_seconds"
    with pytest.raises(UsageError) as excinfo:
        seconds_of(text, "--min-left")
    assert excinfo.value.what == "Invalid --min-left"


def test_all_settings_are_told_by_their_names() -> None:
    assert table(ROLE) == {
        "renew": "auto", "duration_seconds": None, "session": "temporary", "mfa_serial": None,
        "external_id": None, "role_session_name": None, "source_identity": None, "tags": {},
        "transitive_tags": [], "policy": None, "policy_arns": [], "timeout": None,
        "rotation_days": 90, "rotate": "ask",
    }  # fmt: skip
    full = replace(
        USER, renew=Renew.OFF, duration_seconds=900, session_none=True, mfa_serial=SERIAL, external_id="x",
        role_session_name="me", source_identity="jo", tags={"a": "b"}, transitive_tags=("a",), policy="{}",
        policy_arns=(POLICY_ARN,), rotation_days=30, rotate=Rotate.AUTO,
    )  # fmt: skip
    assert table(full) == {
        "renew": "off", "duration_seconds": 900, "session": "none", "mfa_serial": SERIAL,
        "external_id": "x", "role_session_name": "me", "source_identity": "jo", "tags": {"a": "b"},
        "transitive_tags": ["a"], "policy": "{}", "policy_arns": [POLICY_ARN], "rotation_days": 30,
        "rotate": "auto",
    }  # fmt: skip
    assert {type(table(full)[key]) for key in ("renew", "rotate")} == {str}
