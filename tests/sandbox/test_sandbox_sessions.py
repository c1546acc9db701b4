"""GetSessionToken, and MFA as every call takes it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from keyturn_sandbox import MfaDevice, Sandbox, Session, User

ACCOUNT = "200000000001"
WRONG_CODE = "MultiFactorAuthentication failed with invalid MFA one time pass code."
WRONG_DEVICE = (
    "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number "
    "is valid and "
    "associated with this user."
)
HALF = "MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code."


@pytest.fixture(scope="module")
def user(sandbox: Sandbox) -> User:
    user = sandbox.state.add_user(ACCOUNT, "alice")
    sandbox.state.add_key(user)
    return user


@pytest.fixture(scope="module")
def device(sandbox: Sandbox, user: User) -> MfaDevice:
    return sandbox.add_device(user, "alice-phone", profiles=("acme",))


@pytest.fixture
def sts(user: User, client: Callable[..., Any]) -> Any:
    return client("sts", user.keys[0])


@pytest.fixture
def fresh_code(sandbox: Sandbox, device: MfaDevice) -> Callable[[], str]:
    """Return an unused code."""

    def code() -> str:
        sandbox.move_clock(30)
        return sandbox.totp(device.serial)

    return code


def lifetime(sandbox: Sandbox, answer: dict[str, Any]) -> int:
    """Return the lifetime of the credentials of a response, rounded to ten seconds."""
    expires: datetime = answer["Credentials"]["Expiration"]
    return round((expires - sandbox.now()).total_seconds() / 10) * 10


def test_a_session_is_usable_and_is_its_user(sts: Any, user: User, client: Callable[..., Any]) -> None:
    credentials = sts.get_session_token()["Credentials"]
    assert credentials["AccessKeyId"].startswith("ASIA")
    identity = client("sts", credentials).get_caller_identity()
    assert (identity["Arn"], identity["UserId"]) == (user.arn, user.unique_id)


@pytest.mark.parametrize(("requested", "given"), [(None, 43200), (900, 900), (129600, 129600)])
def test_a_session_lives_12_hours_or_15_minutes_to_36_hours(
    sandbox: Sandbox, sts: Any, requested: int | None, given: int
) -> None:
    answer = sts.get_session_token(**({} if requested is None else {"DurationSeconds": requested}))
    assert lifetime(sandbox, answer) == given


@pytest.mark.parametrize(
    ("requested", "words"),
    [(899, "value greater than or equal to 900"), (129601, "value less than or equal to 129600")],
)
def test_a_session_outside_these_limits_is_refused(
    sts: Any, refused: Callable[..., str], requested: int, words: str
) -> None:
    assert refused("ValidationError", 400, sts.get_session_token, DurationSeconds=requested) == (
        f"1 validation error detected: Value '{requested}' at 'durationSeconds' failed to satisfy "
        f"constraint: "
        f"Member must have {words}"
    )


def test_root_gets_an_hour_at_most(sandbox: Sandbox, client: Callable[..., Any]) -> None:
    root = sandbox.state.add_user("200000000002", "")
    sts = client("sts", sandbox.state.add_key(root))
    assert sts.get_caller_identity()["Arn"] == "arn:aws:iam::200000000002:root"
    assert lifetime(sandbox, sts.get_session_token()) == 3600
    assert lifetime(sandbox, sts.get_session_token(DurationSeconds=43200)) == 3600
    assert lifetime(sandbox, sts.get_session_token(DurationSeconds=900)) == 900


def test_session_credentials_get_no_session(
    sandbox: Sandbox, user: User, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    role = sandbox.state.add_role(ACCOUNT, "Any", [])
    for principal in (user, role):
        session = sandbox.state.add_session(principal, timedelta(hours=1), name="x1")
        assert refused("AccessDenied", 403, client("sts", session).get_session_token) == (
            "Cannot call GetSessionToken with session credentials"
        )


@pytest.mark.parametrize("change", ["Inactive", "deleted"])
def test_a_session_outlives_its_key_but_not_its_user(
    sandbox: Sandbox, client: Callable[..., Any], refused: Callable[..., str], change: str
) -> None:
    user = sandbox.state.add_user("200000000003", f"key-{change}")
    key = sandbox.state.add_key(user)
    sts = client("sts", client("sts", key).get_session_token()["Credentials"])
    if change == "deleted":
        user.keys.remove(key)
    else:
        key.status = change
    assert sts.get_caller_identity()["Arn"] == user.arn
    sandbox.state.remove_user(user)
    refused("InvalidClientTokenId", 403, sts.get_caller_identity)


def test_a_code_works_once(
    sts: Any, device: MfaDevice, fresh_code: Callable[[], str], refused: Callable[..., str]
) -> None:
    code = fresh_code()
    assert sts.get_session_token(SerialNumber=device.serial, TokenCode=code)
    again = refused("AccessDenied", 403, sts.get_session_token, SerialNumber=device.serial, TokenCode=code)
    assert again == WRONG_CODE


def test_an_old_and_a_wrong_code_are_refused(
    sandbox: Sandbox, sts: Any, device: MfaDevice, fresh_code: Callable[[], str], refused: Callable[..., str]
) -> None:
    code = fresh_code()
    sandbox.move_clock(60)
    wrong = f"{(int(sandbox.totp(device.serial)) + 1) % 1_000_000:06d}"
    for bad in (code, wrong):
        text = refused("AccessDenied", 403, sts.get_session_token, SerialNumber=device.serial, TokenCode=bad)
        assert text == WRONG_CODE


def test_a_code_of_the_window_before_still_works(
    sandbox: Sandbox, sts: Any, device: MfaDevice, fresh_code: Callable[[], str]
) -> None:
    code = fresh_code()
    sandbox.move_clock(30)
    assert sts.get_session_token(SerialNumber=device.serial, TokenCode=code)


def test_the_device_must_be_the_users(
    sandbox: Sandbox, sts: Any, device: MfaDevice, fresh_code: Callable[[], str], refused: Callable[..., str]
) -> None:
    other = sandbox.add_device(sandbox.state.add_user(ACCOUNT, "bob"), "bob-phone")
    for serial in (other.serial, device.serial.lower().replace("alice", "Alice"), "GAHT12345678"):
        text = refused(
            "AccessDenied", 403, sts.get_session_token, SerialNumber=serial, TokenCode=fresh_code()
        )
        assert text == WRONG_DEVICE


def test_serial_and_code_come_together(sts: Any, device: MfaDevice, refused: Callable[..., str]) -> None:
    for half in ({"SerialNumber": device.serial}, {"TokenCode": "123456"}):
        assert refused("AccessDenied", 403, sts.get_session_token, **half) == HALF


@pytest.mark.parametrize(
    ("code", "faults"),
    [
        ("12345", ["Member must have length greater than or equal to 6"]),
        ("1234567", ["Member must have length less than or equal to 6"]),
        ("12345x", ["Member must satisfy regular expression pattern: [\\d]*"]),
        (
            "x",
            [
                "Member must satisfy regular expression pattern: [\\d]*",
                "Member must have length greater than or equal to 6",
            ],
        ),
    ],
)
def test_a_code_has_six_digits(
    sts: Any, device: MfaDevice, refused: Callable[..., str], code: str, faults: list[str]
) -> None:
    head = f"{len(faults)} validation error{'s' if len(faults) > 1 else ''} detected: "
    assert refused(
        "ValidationError", 400, sts.get_session_token, SerialNumber=device.serial, TokenCode=code
    ) == head + "; ".join(
        f"Value '{code}' at 'tokenCode' failed to satisfy constraint: {fault}" for fault in faults
    )


def test_a_serial_has_nine_characters_at_least(sts: Any, refused: Callable[..., str]) -> None:
    text = refused("ValidationError", 400, sts.get_session_token, SerialNumber="short", TokenCode="123456")
    assert "at 'serialNumber' failed to satisfy constraint: Member must have length greater than" in text


def test_the_code_shown_is_found_by_every_name_of_its_device(sandbox: Sandbox, device: MfaDevice) -> None:
    names = (device.serial, "alice-phone", "alice", "acme")
    assert len({sandbox.totp(name) for name in names}) == 1
    with pytest.raises(LookupError, match="MFA device not found: nobody"):
        sandbox.totp("nobody")


def test_mfa_opens_iam_to_a_session(
    user: User,
    device: MfaDevice,
    fresh_code: Callable[[], str],
    client: Callable[..., Any],
    refused: Callable[..., str],
) -> None:
    sts = client("sts", user.keys[0])
    plain = client("iam", sts.get_session_token()["Credentials"])
    for call in (plain.get_user, plain.list_mfa_devices, plain.list_access_keys):
        assert refused("InvalidClientTokenId", 403, call) == (
            "The security token included in the request is invalid."
        )
    proven = sts.get_session_token(SerialNumber=device.serial, TokenCode=fresh_code())["Credentials"]
    iam = client("iam", proven)
    assert iam.get_user()["User"]["Arn"] == user.arn
    assert iam.list_mfa_devices()["MFADevices"][0]["SerialNumber"] == device.serial
    for call in (iam.list_access_keys, iam.create_access_key):
        assert refused("ValidationError", 400, call) == (
            "Must specify userName when calling with non-User credentials"
        )
    assert len(iam.list_access_keys(UserName="alice")["AccessKeyMetadata"]) == 1


def test_sessions_tell_no_secret(sandbox: Sandbox, user: User) -> None:
    session = sandbox.state.add_session(user, timedelta(hours=1))
    assert isinstance(session, Session)
    assert session.secret.reveal() not in repr(sandbox.calls)
