"""Session tags, source identity and session policies: their limits, permissions, and their way through a role
chain."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from keyturn_sandbox import Role, Sandbox, User

ACCOUNT = "310000000001"
EVERYTHING = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]


def trust_policy(
    principal: str, action: object = EVERYTHING, **conditions: object
) -> list[dict[str, object]]:
    return [{"Effect": "Allow", "Principal": {"AWS": principal}, "Action": action, "Condition": conditions}]


def tags(**values: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in values.items()]


@pytest.fixture(scope="module")
def user(sandbox: Sandbox) -> User:
    user = sandbox.state.add_user(ACCOUNT, "tina", tags={"team": "platform"})
    sandbox.state.add_key(user)
    return user


@pytest.fixture(scope="module")
def sts(user: User, client: Callable[..., Any]) -> Any:
    return client("sts", user.keys[0])


@pytest.fixture(scope="module")
def role(sandbox: Sandbox, user: User) -> Role:
    return sandbox.state.add_role(ACCOUNT, "Tagged", trust_policy(user.arn))


@pytest.fixture(scope="module")
def assume_role(sts: Any, role: Role) -> Callable[..., dict[str, Any]]:
    """Call AssumeRole for a role that trusts everything."""

    def call(**more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = sts.assume_role(RoleArn=role.arn, RoleSessionName="s1", **more)
        return answer

    return call


def test_fifty_tags_of_full_length_are_a_matter_of_packing(
    assume_role: Callable[..., Any], refused: Callable[..., str]
) -> None:
    many = tags(**{f"k{number}": "v" for number in range(50)})
    assert 0 < assume_role(Tags=many)["PackedPolicySize"] <= 100
    assert "less than or equal to 50" in refused(
        "ValidationError", 400, assume_role, Tags=[*many, {"Key": "one-more", "Value": ""}]
    )
    rich = [{"Key": f"k{digest(number)}", "Value": digest(number) * 4} for number in range(50)]
    text = refused("PackedPolicyTooLarge", 400, assume_role, Tags=rich)
    assert text.startswith("Packed policy consumes ")
    assert text.endswith("% of allotted space, please use smaller policy.")


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        (
            {"Key": "k" * 129, "Value": ""},
            "at 'tags.1.member.key' failed to satisfy constraint: Member must have length",
        ),
        (
            {"Key": "k", "Value": "v" * 257},
            "at 'tags.1.member.value' failed to satisfy constraint: Member must have length",
        ),
        (
            {"Key": "", "Value": "v"},
            "at 'tags.1.member.key' failed to satisfy constraint: Member must have length",
        ),
        (
            {"Key": "k", "Value": "a;b"},
            "at 'tags.1.member.value' failed to satisfy constraint: Member must satisfy",
        ),
        (
            {"Key": "k\n", "Value": "b"},
            "at 'tags.1.member.key' failed to satisfy constraint: Member must satisfy",
        ),
        ({"Key": "k"}, "Value null at 'tags.1.member.value'"),
    ],
)
def test_a_tag_that_does_not_fit_is_named(
    assume_role: Callable[..., Any], refused: Callable[..., str], tag: Mapping[str, str], words: str
) -> None:
    assert words in refused("ValidationError", 400, assume_role, Tags=[tag])


def test_the_longest_tag_of_any_script_fits(assume_role: Callable[..., Any]) -> None:
    assert assume_role(Tags=[{"Key": "k" * 128, "Value": "v" * 256}, {"Key": "größe 尺寸", "Value": ""}])[
        "PackedPolicySize"
    ]


def test_doubled_reserved_and_unnamed_tags_are_refused(
    assume_role: Callable[..., Any], refused: Callable[..., str]
) -> None:
    assert refused("InvalidInput", 400, assume_role, Tags=tags(team="a", TEAM="b")) == (
        "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    )
    refused("InvalidInput", 400, assume_role, Tags=[{"Key": "aws:team", "Value": "a"}])
    refused("InvalidInput", 400, assume_role, Tags=tags(team="a"), TransitiveTagKeys=["cost"])
    assert assume_role(Tags=tags(team="a"), TransitiveTagKeys=["Team"])


def test_trust_may_ask_for_tags(sandbox: Sandbox, user: User, sts: Any, refused: Callable[..., str]) -> None:
    role = sandbox.state.add_role(
        ACCOUNT,
        "AsksForTags",
        trust_policy(
            user.arn,
            StringEquals={"aws:RequestTag/project": "${aws:PrincipalTag/team}"},
            **{"ForAllValues:StringEquals": {"aws:TagKeys": ["project", "cost"]}},
        ),
    )
    params = {"RoleArn": role.arn, "RoleSessionName": "s1"}
    refused("AccessDenied", 403, sts.assume_role, **params)
    refused("AccessDenied", 403, sts.assume_role, **params, Tags=tags(project="other"))
    refused("AccessDenied", 403, sts.assume_role, **params, Tags=tags(project="platform", extra="x"))
    assert sts.assume_role(**params, Tags=tags(project="platform", cost="7"))


def test_transitive_tags_go_through_a_chain_and_cannot_be_overridden(
    sandbox: Sandbox,
    role: Role,
    assume_role: Callable[..., Any],
    client: Callable[..., Any],
    refused: Callable[..., str],
) -> None:
    second = sandbox.state.add_role(
        ACCOUNT, "Second", trust_policy(role.arn, StringEquals={"aws:PrincipalTag/project": "x"})
    )
    third = sandbox.state.add_role(
        ACCOUNT, "Third", trust_policy(second.arn, StringEquals={"aws:PrincipalTag/project": "x"})
    )
    untagged = sandbox.state.add_role(ACCOUNT, "Untagged", trust_policy(role.arn, "sts:AssumeRole"))
    first = client(
        "sts", assume_role(Tags=tags(project="x", cost="1"), TransitiveTagKeys=["project"])["Credentials"]
    )
    call = {"RoleArn": second.arn, "RoleSessionName": "s2"}
    text = refused("InvalidInput", 400, first.assume_role, **call, Tags=tags(PROJECT="y"))
    assert "conflicts with a transitive tag key from the calling session" in text
    middle = client("sts", first.assume_role(**call, Tags=tags(cost="2"))["Credentials"])
    assert middle.assume_role(RoleArn=third.arn, RoleSessionName="s3")["PackedPolicySize"]
    refused("AccessDenied", 403, first.assume_role, RoleArn=untagged.arn, RoleSessionName="s2")
    plain = client("sts", assume_role(Tags=tags(project="x"))["Credentials"])
    assert plain.assume_role(RoleArn=untagged.arn, RoleSessionName="s2")
    lost = client("sts", plain.assume_role(**call)["Credentials"])
    refused("AccessDenied", 403, lost.assume_role, RoleArn=third.arn, RoleSessionName="s3")


def test_a_source_identity_sticks_and_cannot_be_changed(
    sandbox: Sandbox,
    role: Role,
    assume_role: Callable[..., Any],
    client: Callable[..., Any],
    refused: Callable[..., str],
) -> None:
    next_role = sandbox.state.add_role(
        ACCOUNT, "Sticks", trust_policy(role.arn, StringEquals={"sts:SourceIdentity": "tina"})
    )
    careless = sandbox.state.add_role(ACCOUNT, "Careless", trust_policy(role.arn, "sts:AssumeRole"))
    answer = assume_role(SourceIdentity="tina")
    assert answer["SourceIdentity"] == "tina"
    chained = client("sts", answer["Credentials"])
    call = {"RoleArn": next_role.arn, "RoleSessionName": "s2"}
    assert chained.assume_role(**call)["SourceIdentity"] == "tina"
    assert chained.assume_role(**call, SourceIdentity="tina")["SourceIdentity"] == "tina"
    refused("AccessDenied", 403, chained.assume_role, **call, SourceIdentity="tom")
    text = refused("AccessDenied", 403, chained.assume_role, RoleArn=careless.arn, RoleSessionName="s2")
    assert "sts:SetSourceIdentity" in text
    assert client("sts", assume_role()["Credentials"]).assume_role(RoleArn=careless.arn, RoleSessionName="s2")
    for bad in ("aws:tina", "t", "t" * 65, "ti na"):
        refused("ValidationError", 400, assume_role, SourceIdentity=bad)


def digest(number: int) -> str:
    """Return 64 characters that cannot be packed much."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def document(*statements: Mapping[str, object], version: str = "2012-10-17") -> str:
    return json.dumps({"Version": version, "Statement": list(statements)})


ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
NO_ROLES = {"Effect": "Deny", "Action": "sts:AssumeRole", "Resource": "*"}


def test_a_session_policy_narrows_and_never_widens(
    sandbox: Sandbox, user: User, sts: Any, client: Callable[..., Any], refused: Callable[..., str]
) -> None:
    away = "310000000002"
    first = sandbox.state.add_role(
        ACCOUNT, "Narrowed", trust_policy(user.arn), may_assume=(f"arn:aws:iam::{away}:role/Allowed",)
    )
    allowed = sandbox.state.add_role(away, "Allowed", trust_policy(first.arn))
    forbidden = sandbox.state.add_role(away, "Forbidden", trust_policy(first.arn))
    params = {"RoleArn": first.arn, "RoleSessionName": "s1"}

    def holds(**more: Any) -> list[bool]:
        hop = client("sts", sts.assume_role(**params, **more)["Credentials"])
        found = []
        for role in (allowed, forbidden):
            try:
                hop.assume_role(RoleArn=role.arn, RoleSessionName="s2")
                found.append(True)
            except hop.exceptions.ClientError:
                found.append(False)
        return found

    only = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": allowed.arn}
    assert holds() == [True, False]
    assert holds(Policy=document(ALL)) == [True, False]
    assert holds(Policy=document(only)) == [True, False]
    assert holds(Policy=document(ALL, NO_ROLES)) == [False, False]
    assert holds(Policy=document({**only, "Resource": forbidden.arn})) == [False, False]
    admin, reader = (
        {"arn": f"arn:aws:iam::aws:policy/{name}"} for name in ("AdministratorAccess", "ReadOnlyAccess")
    )
    assert holds(PolicyArns=[reader]) == [False, False]
    assert holds(PolicyArns=[reader, admin]) == [True, False]
    admin_role = sandbox.state.add_role(ACCOUNT, "KeyAdmin", trust_policy(user.arn), iam_admin=True)
    narrow = sts.assume_role(RoleArn=admin_role.arn, RoleSessionName="s1", PolicyArns=[reader])["Credentials"]
    iam = client("iam", narrow)
    assert iam.list_access_keys(UserName=user.name)
    text = refused("AccessDenied", 403, iam.create_access_key, UserName=user.name)
    assert text.endswith("because no session policy allows the iam:CreateAccessKey action")


@pytest.mark.parametrize(
    "policy",
    [
        "{",
        "[]",
        "[" * 900,
        "{}",
        '{"Version": "2012-10-17", "Statement": []}',
        document(ALL, version="2020-01-01"),
        document({"Effect": "Perhaps", "Action": "*", "Resource": "*"}),
        document({"Effect": "Allow", "Action": "*"}),
        document({**ALL, "Principal": "*"}),
        document({**ALL, "Condition": {"Roughly": {"aws:username": "x"}}}),
    ],
)
def test_a_policy_that_is_none_is_malformed(
    assume_role: Callable[..., Any], refused: Callable[..., str], policy: str
) -> None:
    assert refused("MalformedPolicyDocument", 400, assume_role, Policy=policy)


def test_policies_have_2048_characters_ten_arns_and_a_packed_size(
    assume_role: Callable[..., Any], refused: Callable[..., str]
) -> None:
    admin = {"arn": "arn:aws:iam::aws:policy/AdministratorAccess"}
    assert assume_role(PolicyArns=[admin] * 10)["PackedPolicySize"]
    assert "less than or equal to 10" in refused("ValidationError", 400, assume_role, PolicyArns=[admin] * 11)
    assert "does not exist" in refused(
        "ValidationError", 400, assume_role, PolicyArns=[{"arn": f"arn:aws:iam::{ACCOUNT}:policy/None"}]
    )
    padded = document(ALL).ljust(2048)
    assert assume_role(Policy=padded)["PackedPolicySize"] < 20
    assert "less than or equal to 2048" in refused("ValidationError", 400, assume_role, Policy=padded + " ")
    noise = "".join(digest(number) for number in range(29))
    dense = document({"Effect": "Allow", "Action": "*", "Resource": f"arn:aws:s3:::{noise}"})
    assert len(dense) <= 2048
    refused("PackedPolicyTooLarge", 400, assume_role, Policy=dense, Tags=tags(**{noise[:60]: noise[:250]}))
    assert "PackedPolicySize" not in assume_role()


def test_a_managed_policy_of_the_account_counts(sandbox: Sandbox, assume_role: Callable[..., Any]) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:policy/Own"
    sandbox.state.managed_policies[arn] = (ALL,)
    assert assume_role(PolicyArns=[{"arn": arn}])["PackedPolicySize"]


def test_a_token_is_as_long_as_asked_for_and_longer_by_what_it_carries(
    assume_role: Callable[..., Any],
) -> None:
    answer = assume_role(MinimumSessionTokenSize=4096)
    assert len(answer["Credentials"]["SessionToken"]) == answer["SessionTokenSize"] >= 4096
    many = tags(**{f"key-{number}": f"value {number * 7919}" for number in range(40)})
    plain = len(assume_role()["Credentials"]["SessionToken"])
    assert len(assume_role(Tags=many)["Credentials"]["SessionToken"]) > plain
