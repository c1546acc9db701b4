"""AssumeRole: permissions, durations, and the messages of its refusals."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from keyturn_sandbox import Role, Sandbox, User

HOME, AWAY = "300000000001", "300000000002"
TOO_LONG = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
CHAINED = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."


@pytest.fixture(scope="module")
def user(sandbox: Sandbox) -> User:
    user = sandbox.state.add_user(HOME, "carol", path="/team/", may_assume=(f"arn:aws:iam::{AWAY}:role/*",))
    sandbox.state.add_key(user)
    sandbox.add_device(user, "carol")
    return user


@pytest.fixture(scope="module")
def sts(user: User, client: Callable[..., Any]) -> Any:
    return client("sts", user.keys[0])


def trust_policy(
    principal: str, action: object = "sts:AssumeRole", **conditions: object
) -> list[dict[str, object]]:
    return [{"Effect": "Allow", "Principal": {"AWS": principal}, "Action": action, "Condition": conditions}]


def denied_message(arn: str, role: str, action: str = "sts:AssumeRole") -> str:
    return f"User: {arn} is not authorized to perform: {action} on resource: {role}"


def lifetime(sandbox: Sandbox, answer: Any) -> int:
    expires: datetime = answer["Credentials"]["Expiration"]
    return round((expires - sandbox.now()).total_seconds() / 10) * 10


def test_a_role_that_names_the_user_can_be_assumed(
    sandbox: Sandbox, user: User, sts: Any, client: Callable[..., Any]
) -> None:
    role = sandbox.state.add_role(HOME, "Named", trust_policy(user.arn), path="/app/")
    answer = sts.assume_role(RoleArn=role.arn, RoleSessionName="carol@work")
    arn = f"arn:aws:sts::{HOME}:assumed-role/Named/carol@work"
    assert answer["AssumedRoleUser"] == {"Arn": arn, "AssumedRoleId": f"{role.unique_id}:carol@work"}
    assert lifetime(sandbox, answer) == 3600
    identity = client("sts", answer["Credentials"]).get_caller_identity()
    assert (identity["Arn"], identity["Account"]) == (arn, HOME)
    assert identity["UserId"] == f"{role.unique_id}:carol@work"


def test_another_account_asks_for_a_permission_too(
    sandbox: Sandbox, user: User, client: Callable[..., Any], refused: Callable[..., str], sts: Any
) -> None:
    for number, principal in enumerate((f"arn:aws:iam::{HOME}:root", user.arn)):
        role = sandbox.state.add_role(AWAY, f"Away{number}", trust_policy(principal))
        assert sts.assume_role(RoleArn=role.arn, RoleSessionName="s1")
        other = sandbox.state.add_user(HOME, f"no-permission-{number}")
        role.trust = tuple(trust_policy(other.arn if number else principal))
        text = refused(
            "AccessDenied",
            403,
            client("sts", sandbox.state.add_key(other)).assume_role,
            RoleArn=role.arn,
            RoleSessionName="s1",
        )
        assert text == denied_message(other.arn, role.arn)


def test_in_one_account_trusting_the_account_leaves_it_to_permissions(
    sandbox: Sandbox, sts: Any, user: User, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    role = sandbox.state.add_role(HOME, "ByAccount", trust_policy(HOME))
    params = {"RoleArn": role.arn, "RoleSessionName": "s1"}
    assert refused("AccessDenied", 403, sts.assume_role, **params) == denied_message(user.arn, role.arn)
    allowed = sandbox.state.add_user(HOME, "allowed", may_assume=(role.arn,))
    assert client("sts", sandbox.state.add_key(allowed)).assume_role(**params)


def test_an_unknown_role_and_one_in_the_wrong_case_are_refused_alike(
    sandbox: Sandbox, sts: Any, user: User, refused: Callable[..., str]
) -> None:
    sandbox.state.add_role(HOME, "CaseCounts", trust_policy(user.arn))
    for name in ("casecounts", "NoSuchRole"):
        arn = f"arn:aws:iam::{HOME}:role/{name}"
        text = refused("AccessDenied", 403, sts.assume_role, RoleArn=arn, RoleSessionName="s1")
        assert text == denied_message(user.arn, arn)


def test_the_external_id_must_be_there_and_right(
    sandbox: Sandbox, sts: Any, user: User, refused: Callable[..., str]
) -> None:
    role = sandbox.state.add_role(
        AWAY, "External", trust_policy(HOME, StringEquals={"sts:ExternalId": "a/b:c-1"})
    )
    params = {"RoleArn": role.arn, "RoleSessionName": "s1"}
    for wrong in ({}, {"ExternalId": "a/b:c-2"}, {"ExternalId": "A/B:C-1"}):
        assert refused("AccessDenied", 403, sts.assume_role, **params, **wrong) == denied_message(
            user.arn, role.arn
        )
    assert sts.assume_role(**params, ExternalId="a/b:c-1")


def test_a_role_may_ask_for_mfa_and_for_how_long_ago(
    sandbox: Sandbox, user: User, sts: Any, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    role = sandbox.state.add_role(
        AWAY,
        "WithMfa",
        trust_policy(
            HOME,
            Bool={"aws:MultiFactorAuthPresent": "true"},
            NumericLessThan={"aws:MultiFactorAuthAge": "600"},
        ),
    )
    params = {"RoleArn": role.arn, "RoleSessionName": "s1"}
    mfa = {"SerialNumber": user.devices[0].serial}
    assert refused("AccessDenied", 403, sts.assume_role, **params) == denied_message(user.arn, role.arn)
    code = sandbox.totp("carol")
    assert sts.assume_role(**params, **mfa, TokenCode=code)
    assert refused("AccessDenied", 403, sts.assume_role, **params, **mfa, TokenCode=code) == (
        "MultiFactorAuthentication failed with invalid MFA one time pass code."
    )
    sandbox.move_clock(30)
    session = sts.get_session_token(**mfa, TokenCode=sandbox.totp("carol"))["Credentials"]
    assert client("sts", session).assume_role(**params)
    sandbox.move_clock(600)
    assert refused("AccessDenied", 403, client("sts", session).assume_role, **params) == denied_message(
        user.arn, role.arn
    )
    without = sts.get_session_token()["Credentials"]
    refused("AccessDenied", 403, client("sts", without).assume_role, **params)


def test_role_credentials_carry_no_mfa_on(
    sandbox: Sandbox, user: User, sts: Any, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    first = sandbox.state.add_role(HOME, "FirstHop", trust_policy(user.arn))
    second = sandbox.state.add_role(
        HOME, "SecondHop", trust_policy(first.arn, Bool={"aws:MultiFactorAuthPresent": "true"})
    )
    sandbox.move_clock(30)
    hop = sts.assume_role(
        RoleArn=first.arn,
        RoleSessionName="s1",
        SerialNumber=user.devices[0].serial,
        TokenCode=sandbox.totp("carol"),
    )
    text = refused(
        "AccessDenied",
        403,
        client("sts", hop["Credentials"]).assume_role,
        RoleArn=second.arn,
        RoleSessionName="s2",
    )
    assert text == denied_message(hop["AssumedRoleUser"]["Arn"], second.arn)


@pytest.mark.parametrize(("most", "requested"), [(3600, 900), (7200, 7200), (43200, 43200)])
def test_a_role_session_lives_as_long_as_asked_within_the_roles_maximum(
    sandbox: Sandbox, user: User, sts: Any, most: int, requested: int
) -> None:
    role = sandbox.state.add_role(HOME, f"Max{most}", trust_policy(user.arn), max_session=most)
    answer = sts.assume_role(RoleArn=role.arn, RoleSessionName="s1", DurationSeconds=requested)
    assert lifetime(sandbox, answer) == requested


@pytest.mark.parametrize("most", [3600, 7200])
def test_a_role_session_beyond_the_roles_maximum_is_refused(
    sandbox: Sandbox, user: User, sts: Any, refused: Callable[..., str], most: int
) -> None:
    role = sandbox.state.add_role(HOME, f"Max{most}", trust_policy(user.arn), max_session=most)
    call = {"RoleArn": role.arn, "RoleSessionName": "s1", "DurationSeconds": most + 1}
    assert refused("ValidationError", 400, sts.assume_role, **call) == TOO_LONG


def test_a_refused_length_has_used_up_its_code(
    sandbox: Sandbox, user: User, sts: Any, refused: Callable[..., str]
) -> None:
    role = sandbox.state.add_role(HOME, "ShortWithMfa", trust_policy(user.arn))
    sandbox.move_clock(30)
    call = {
        "RoleArn": role.arn,
        "RoleSessionName": "s1",
        "SerialNumber": user.devices[0].serial,
        "TokenCode": sandbox.totp("carol"),
    }
    assert refused("ValidationError", 400, sts.assume_role, **call, DurationSeconds=7200) == TOO_LONG
    refused("AccessDenied", 403, sts.assume_role, **call, DurationSeconds=3600)


def test_temporary_credentials_assume_for_an_hour_at_most(
    sandbox: Sandbox, user: User, sts: Any, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    first = sandbox.state.add_role(HOME, "Link1", trust_policy(user.arn), max_session=43200)
    second = sandbox.state.add_role(HOME, "Link2", trust_policy(first.arn), max_session=43200)
    role_session = sts.assume_role(RoleArn=first.arn, RoleSessionName="s1")["Credentials"]
    user_session = sts.get_session_token()["Credentials"]
    for credentials, role in ((role_session, second), (user_session, first)):
        chained = client("sts", credentials)
        call = {"RoleArn": role.arn, "RoleSessionName": "s2"}
        assert refused("ValidationError", 400, chained.assume_role, **call, DurationSeconds=3601) == CHAINED
        assert lifetime(sandbox, chained.assume_role(**call, DurationSeconds=3600)) == 3600


def test_a_chain_of_three_across_accounts(
    sandbox: Sandbox, user: User, sts: Any, client: Callable[..., Any]
) -> None:
    roles: list[Role] = []
    principal = user.arn
    for number, account in enumerate((HOME, AWAY, "300000000003")):
        following = f"arn:aws:iam::*:role/Chain{number + 1}"
        roles.append(
            sandbox.state.add_role(
                account, f"Chain{number}", trust_policy(principal), may_assume=(following,)
            )
        )
        principal = roles[-1].arn
    for role in roles:
        answer = sts.assume_role(RoleArn=role.arn, RoleSessionName="chain")
        sts = client("sts", answer["Credentials"])
    assert sts.get_caller_identity()["Arn"] == "arn:aws:sts::300000000003:assumed-role/Chain2/chain"
    sandbox.state.remove_role(roles[2])


def test_a_deleted_roles_sessions_are_unknown(
    sandbox: Sandbox, user: User, sts: Any, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    role = sandbox.state.add_role(HOME, "Gone", trust_policy(user.arn))
    session = client("sts", sts.assume_role(RoleArn=role.arn, RoleSessionName="s1")["Credentials"])
    assert session.get_caller_identity()
    sandbox.state.remove_role(role)
    refused("InvalidClientTokenId", 403, session.get_caller_identity)


def test_root_assumes_no_role(
    sandbox: Sandbox, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    root = sandbox.state.add_user("300000000004", "")
    role = sandbox.state.add_role("300000000004", "Any", trust_policy(root.arn))
    sts = client("sts", sandbox.state.add_key(root))
    session = client("sts", sts.get_session_token()["Credentials"])
    for caller in (sts, session):
        text = refused("AccessDenied", 403, caller.assume_role, RoleArn=role.arn, RoleSessionName="s1")
        assert text == "Roles may not be assumed by root accounts."


ARN = f"arn:aws:iam::{HOME}:role/Any"
NAME_PATTERN = "Member must satisfy regular expression pattern: [\\w+=,.@-]*"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            {"RoleArn": ARN, "RoleSessionName": "a/b"},
            (
                "1 validation error detected: Value 'a/b' at 'roleSessionName' failed to satisfy constraint: "
                f"{NAME_PATTERN}"
            ),
        ),
        (
            {"RoleArn": ARN, "RoleSessionName": "ü1"},
            (
                "1 validation error detected: Value 'ü1' at 'roleSessionName' failed to satisfy constraint: "
                f"{NAME_PATTERN}"
            ),
        ),
        (
            {"RoleArn": ARN, "RoleSessionName": "x"},
            (
                "1 validation error detected: Value 'x' at 'roleSessionName' failed to satisfy constraint: "
                "Member must have length greater than or equal to 2"
            ),
        ),
        (
            {"RoleSessionName": "s1"},
            (
                "1 validation error detected: Value null at 'roleArn' failed to satisfy constraint: "
                "Member must not be null"
            ),
        ),
        (
            {"RoleArn": ARN, "RoleSessionName": "s1", "ExternalId": "a b"},
            (
                "1 validation error detected: Value 'a b' at 'externalId' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [\\w+=,.@:\\/-]*"
            ),
        ),
        (
            {"RoleArn": ARN, "RoleSessionName": "s1", "DurationSeconds": 43201},
            (
                "1 validation error detected: Value '43201' at 'durationSeconds' failed to satisfy "
                "constraint: "
                "Member must have value less than or equal to 43200"
            ),
        ),
        ({"RoleArn": "arn:aws:iam::12:role/TooShort", "RoleSessionName": "s1"}, "Request ARN is invalid"),
    ],
)
def test_parameters_that_do_not_fit_are_named(
    sts: Any, refused: Callable[..., str], call: dict[str, Any], text: str
) -> None:
    assert refused("ValidationError", 400, sts.assume_role, **call) == text


def test_tags_and_source_identity_are_permissions_of_their_own(
    sandbox: Sandbox, user: User, sts: Any, refused: Callable[..., str]
) -> None:
    role = sandbox.state.add_role(HOME, "Tagged", trust_policy(user.arn))
    params = {"RoleArn": role.arn, "RoleSessionName": "s1"}
    more = {"Tags": [{"Key": "team", "Value": "ops"}], "SourceIdentity": "carol"}
    text = refused("AccessDenied", 403, sts.assume_role, **params, **more)
    assert text == denied_message(user.arn, role.arn, "sts:TagSession")
    role.trust = tuple(trust_policy(user.arn, ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]))
    assert sts.assume_role(**params, **more)["SourceIdentity"] == "carol"


def test_a_session_before_its_end_works_and_after_it_does_not(
    sandbox: Sandbox, user: User, client: Callable[..., Any], refused: Callable[..., str], sts: Any
) -> None:
    role = sandbox.state.add_role(HOME, "Ends", trust_policy(user.arn))
    session = client(
        "sts", sts.assume_role(RoleArn=role.arn, RoleSessionName="s1", DurationSeconds=900)["Credentials"]
    )
    sandbox.move_clock(timedelta(minutes=14).total_seconds())
    assert session.get_caller_identity()
    sandbox.move_clock(61)
    refused("ExpiredToken", 403, session.get_caller_identity)


def test_revoked_sessions_are_denied_all_and_later_ones_are_not(
    sandbox: Sandbox, user: User, sts: Any, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    next_arn = f"arn:aws:iam::{HOME}:role/AfterRevoked"
    role = sandbox.state.add_role(HOME, "Revoked", trust_policy(user.arn), may_assume=(next_arn,))
    sandbox.state.add_role(HOME, "AfterRevoked", trust_policy(role.arn))
    arguments = {"RoleArn": next_arn, "RoleSessionName": "next"}

    def session() -> Any:
        return client("sts", sts.assume_role(RoleArn=role.arn, RoleSessionName="old")["Credentials"])

    old = session()
    made_from_old = client("sts", old.assume_role(**arguments)["Credentials"])
    sandbox.state.revoke_sessions(role)
    arn = f"arn:aws:sts::{HOME}:assumed-role/Revoked/old"
    assert denied_message(arn, next_arn) in refused("AccessDenied", 403, old.assume_role, **arguments)
    assert old.get_caller_identity()["Arn"] == arn, "nobody can be denied that"
    assert made_from_old.get_caller_identity()["Arn"].endswith("/AfterRevoked/next")
    sandbox.move_clock(2)
    assert session().assume_role(**arguments)["Credentials"]
    assert denied_message(arn, next_arn) in refused("AccessDenied", 403, old.assume_role, **arguments)


def test_revoked_sessions_of_a_user_leave_its_key_alone(
    sandbox: Sandbox, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    user = sandbox.state.add_user(HOME, "revoked", iam_admin=True)
    key = sandbox.state.add_key(user)
    role = sandbox.state.add_role(HOME, "OfRevoked", trust_policy(user.arn))
    arguments = {"RoleArn": role.arn, "RoleSessionName": "xy"}
    by_key = client("sts", key)
    session = client("sts", by_key.get_session_token()["Credentials"])
    assert session.assume_role(**arguments)
    sandbox.state.revoke_sessions(user)
    assert denied_message(user.arn, role.arn) in refused(
        "AccessDenied", 403, session.assume_role, **arguments
    )
    assert by_key.assume_role(**arguments)


def test_a_revocation_propagates_like_every_change(
    sandbox: Sandbox, user: User, sts: Any, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    role = sandbox.state.add_role(HOME, "Slowly", trust_policy(user.arn), may_assume=("*",))
    target = sandbox.state.add_role(HOME, "SlowTarget", trust_policy(role.arn))
    arguments = {"RoleArn": target.arn, "RoleSessionName": "xy"}
    session = client("sts", sts.assume_role(RoleArn=role.arn, RoleSessionName="xy")["Credentials"])
    sandbox.state.propagation = timedelta(seconds=10)
    try:
        sandbox.state.revoke_sessions(role)
        assert session.assume_role(**arguments)
        sandbox.move_clock(10)
        assert "not authorized" in refused("AccessDenied", 403, session.assume_role, **arguments)
    finally:
        sandbox.state.propagation = timedelta(0)


def test_ended_sessions_have_expired(
    sandbox: Sandbox, user: User, sts: Any, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    role = sandbox.state.add_role(HOME, "Ended", trust_policy(user.arn))
    session = client("sts", sts.assume_role(RoleArn=role.arn, RoleSessionName="xy")["Credentials"])
    sandbox.state.end_sessions(role)
    assert "is expired" in refused("ExpiredToken", 403, session.get_caller_identity)
    assert sts.assume_role(RoleArn=role.arn, RoleSessionName="xy")
