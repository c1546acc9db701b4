"""Facts about STS, one row each: the credentials that each action accepts, durations, and limits."""

from __future__ import annotations

from typing import Any

from tests.sandbox.iam_bench import (
    ALL,
    Bench,
    Facts,
    denied_message,
    document,
    error_of,
    is_invalid_token,
    validation_message,
)

facts = Facts("4")

CHAINED = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."
TOO_LONG = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
NOBODY = "111111111111"


@facts("GetSessionToken | long-term only")
def _(b: Bench) -> None:
    user = b.user(ALL)
    words = "Cannot call GetSessionToken with session credentials"
    for signer in (b.session(user), b.assume_role(user, b.role(user)), b.federated(user)):
        assert denied_message(b.sts(signer).get_session_token) == words
    assert b.session(user)["AccessKeyId"].startswith("ASIA")


@facts("GetSessionToken | 900-129600 (43200)")
def _(b: Bench) -> None:
    sts = b.sts(b.user())
    assert b.lifetime(sts.get_session_token()) == 43200
    for seconds in (900, 129600):
        assert b.lifetime(sts.get_session_token(DurationSeconds=seconds)) == seconds
    for seconds in (899, 129601, 0, -1):
        assert "at 'durationSeconds'" in validation_message(sts.get_session_token, DurationSeconds=seconds)


@facts("GetSessionToken | root max 3600")
def _(b: Bench) -> None:
    sts = b.sts(b.root())
    for requested, given in ((None, 3600), (900, 900), (3600, 3600), (3601, 3600), (129600, 3600)):
        more = {} if requested is None else {"DurationSeconds": requested}
        assert b.lifetime(sts.get_session_token(**more)) == given


@facts("GetSessionToken | no IAM unless MFA was given")
def _(b: Bench) -> None:
    user = b.user()
    assert is_invalid_token(b.iam(b.session(user)).get_user)
    assert b.iam(b.session(user, **b.mfa(user))).get_user()["User"]["Arn"] == user.arn


@facts("GetSessionToken | no STS except AssumeRole, GetCallerIdentity")
def _(b: Bench) -> None:
    user = b.user(ALL)
    sts = b.sts(b.session(user))
    assert sts.get_caller_identity()["Arn"] == user.arn
    assert sts.assume_role(RoleArn=b.role(user).arn, RoleSessionName="fact")
    assert denied_message(sts.get_federation_token, Name="guest")
    assert denied_message(sts.get_access_key_info, AccessKeyId=user.keys[0].key_id)


@facts("GetFederationToken | long-term only")
def _(b: Bench) -> None:
    user = b.user(ALL)
    words = "Cannot call GetFederationToken with session credentials"
    for signer in (b.session(user), b.assume_role(user, b.role(user)), b.federated(user)):
        assert denied_message(b.sts(signer).get_federation_token, Name="guest") == words


@facts("GetFederationToken | 900-129600 (43200); root 3600")
def _(b: Bench) -> None:
    sts, root = b.sts(b.user(ALL)), b.sts(b.root())
    assert b.lifetime(sts.get_federation_token(Name="guest")) == 43200
    for seconds in (900, 129600):
        assert b.lifetime(sts.get_federation_token(Name="guest", DurationSeconds=seconds)) == seconds
    for seconds in (899, 129601):
        assert validation_message(sts.get_federation_token, Name="guest", DurationSeconds=seconds)
    assert b.lifetime(root.get_federation_token(Name="guest")) == 3600
    assert b.lifetime(root.get_federation_token(Name="guest", DurationSeconds=7200)) == 3600


@facts("GetFederationToken | no IAM, no STS but GetCallerIdentity")
def _(b: Bench) -> None:
    user = b.user(ALL)
    guest = b.federated(user, Policy=document([ALL]))
    arn = f"arn:aws:sts::{user.account}:federated-user/guest"
    assert b.sts(guest).get_caller_identity()["Arn"] == arn
    assert is_invalid_token(b.iam(guest).list_access_keys, UserName=user.name)
    assert denied_message(b.sts(guest).assume_role, RoleArn=b.role(user).arn, RoleSessionName="fact")
    assert denied_message(b.sts(guest).get_access_key_info, AccessKeyId=user.keys[0].key_id)


@facts("AssumeRole | any but root: Roles may not be assumed by root accounts.")
def _(b: Bench) -> None:
    root = b.root()
    role = b.role(root)
    for signer in (root, b.session(root)):
        words = denied_message(b.sts(signer).assume_role, RoleArn=role.arn, RoleSessionName="fact")
        assert words == "Roles may not be assumed by root accounts."
    user = b.user()
    first = b.role(user)
    assert b.assume(user, first)
    assert b.assume(b.session(user), first)
    assert b.assume(b.assume_role(user, first), b.role(first))


@facts("AssumeRole | 900-43200 (3600)")
def _(b: Bench) -> None:
    user = b.user()
    role = b.role(user, max_session=43200)
    assert b.lifetime(b.assume(user, role)) == 3600
    for seconds in (900, 43200):
        assert b.lifetime(b.assume(user, role, DurationSeconds=seconds)) == seconds
    for seconds in (899, 43201):
        call = {"RoleArn": role.arn, "RoleSessionName": "fact", "DurationSeconds": seconds}
        assert "at 'durationSeconds'" in validation_message(b.sts(user).assume_role, **call)


@facts("AssumeRole | <= role MaxSessionDuration (1-12 h)")
def _(b: Bench) -> None:
    user = b.user()
    for most in (3600, 7200, 43199):
        role = b.role(user, max_session=most)
        assert b.assume(user, role, DurationSeconds=most)
        call = {"RoleArn": role.arn, "RoleSessionName": "fact", "DurationSeconds": most + 1}
        assert validation_message(b.sts(user).assume_role, **call) == TOO_LONG


@facts("AssumeRole | chained: max 3600")
def _(b: Bench) -> None:
    user = b.user()
    first = b.role(user, max_session=43200)
    second = b.role(first, max_session=43200)
    chained = b.sts(b.assume_role(user, first))
    call = {"RoleArn": second.arn, "RoleSessionName": "fact"}
    assert validation_message(chained.assume_role, **call, DurationSeconds=3601) == CHAINED
    assert b.lifetime(chained.assume_role(**call, DurationSeconds=3600)) == 3600


@facts("AssumeRole | no GetFederationToken/GetSessionToken")
def _(b: Bench) -> None:
    user = b.user()
    sts = b.sts(b.assume_role(user, b.role(user, policies=(ALL,))))
    assert denied_message(sts.get_session_token)
    assert denied_message(sts.get_federation_token, Name="guest")


@facts("GetCallerIdentity | any, no permission needed, cannot be denied")
def _(b: Bench) -> None:
    deny = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    user = b.user(deny)
    role = b.role(user, policies=(deny,))
    assert b.sts(user).get_caller_identity()["Arn"] == user.arn
    assert b.sts(b.session(user)).get_caller_identity()["Arn"] == user.arn
    b.sandbox.state.set_policies(user, [ALL])
    narrowed = b.assume_role(user, role, Policy=document([deny]))
    assert b.sts(narrowed).get_caller_identity()["Arn"].endswith(f":assumed-role/{role.name}/fact")
    assert b.sts(b.root()).get_caller_identity()["Arn"].endswith(":root")


@facts("GetAccessKeyInfo | says nothing about key state")
def _(b: Bench) -> None:
    asker, other = b.user(ALL), b.user()
    key = other.keys[0]
    for change in ("Active", "Inactive", "Expired"):
        b.sandbox.state.set_status(key, change)
        assert b.sts(asker).get_access_key_info(AccessKeyId=key.key_id)["Account"] == other.account
    b.sandbox.state.delete_key(other, key)
    assert b.sts(asker).get_access_key_info(AccessKeyId=key.key_id)["Account"] == other.account


@facts("creds from GetSessionToken+MFA then AssumeRole are limited to 1 h")
def _(b: Bench) -> None:
    user = b.user()
    role = b.role(user, max_session=43200)
    sts = b.sts(b.session(user, **b.mfa(user)))
    call = {"RoleArn": role.arn, "RoleSessionName": "fact"}
    assert validation_message(sts.assume_role, **call, DurationSeconds=3601) == CHAINED
    assert b.lifetime(sts.assume_role(**call)) == 3600


@facts("to get > 1 h call AssumeRole directly with long-term keys + SerialNumber/TokenCode")
def _(b: Bench) -> None:
    user = b.user()
    role = b.role(user, max_session=43200, conditions={"Bool": {"aws:MultiFactorAuthPresent": "true"}})
    assert b.lifetime(b.assume(user, role, DurationSeconds=43200, **b.mfa(user))) == 43200


ROLE: dict[str, Any] = {"RoleArn": f"arn:aws:iam::{NOBODY}:role/Any", "RoleSessionName": "fact"}
MFA: dict[str, Any] = {"SerialNumber": f"arn:aws:iam::{NOBODY}:mfa/x", "TokenCode": "123456"}
PATTERN = "Member must satisfy regular expression pattern"
SHORT, LONG = "Member must have length greater than", "Member must have length less than"

#: The fact, the parameter, an invalid value, and AWS's reason.
LIMITS: tuple[tuple[str, str, Any, str], ...] = (
    (r"RoleSessionName `[\w+=,.@-]{2,64}`: a slash", "RoleSessionName", "a/b", PATTERN),
    (r"RoleSessionName `[\w+=,.@-]{2,64}`: a blank", "RoleSessionName", "a b", PATTERN),
    (r"RoleSessionName `[\w+=,.@-]{2,64}`: a colon", "RoleSessionName", "a:b", PATTERN),
    (r"RoleSessionName `[\w+=,.@-]{2,64}`: an umlaut", "RoleSessionName", "jürgen", PATTERN),
    (r"RoleSessionName `[\w+=,.@-]{2,64}`: a line's end", "RoleSessionName", "ab\n", PATTERN),
    (r"RoleSessionName `[\w+=,.@-]{2,64}`: one character", "RoleSessionName", "a", SHORT),
    (r"RoleSessionName `[\w+=,.@-]{2,64}`: 65 characters", "RoleSessionName", "a" * 65, LONG),
    (r"ExternalId 2-1224 `[\w+=,.@:\/-]*`: a blank", "ExternalId", "a b", PATTERN),
    (r"ExternalId 2-1224 `[\w+=,.@:\/-]*`: a star", "ExternalId", "a*", PATTERN),
    (r"ExternalId 2-1224 `[\w+=,.@:\/-]*`: one character", "ExternalId", "a", SHORT),
    (r"ExternalId 2-1224 `[\w+=,.@:\/-]*`: 1225 characters", "ExternalId", "a" * 1225, LONG),
    ("SerialNumber 9-256: 8 characters", "SerialNumber", "GAHT1234", SHORT),
    ("SerialNumber 9-256: 257 characters", "SerialNumber", "G" * 257, LONG),
    ("SerialNumber 9-256: a blank", "SerialNumber", "GAHT 12345678", PATTERN),
    ("TokenCode exactly 6 digits: 5", "TokenCode", "12345", SHORT),
    ("TokenCode exactly 6 digits: 7", "TokenCode", "1234567", LONG),
    ("TokenCode exactly 6 digits: a letter", "TokenCode", "12345a", PATTERN),
    ("TokenCode exactly 6 digits: a blank between", "TokenCode", "123 56", PATTERN),
    ("TokenCode exactly 6 digits: Arabic ones", "TokenCode", "١٢٣٤٥٦", PATTERN),
    ("SourceIdentity 2-64: one character", "SourceIdentity", "a", SHORT),
    ("SourceIdentity 2-64: 65 characters", "SourceIdentity", "a" * 65, LONG),
    ("SourceIdentity not starting `aws:`", "SourceIdentity", "aws:me", PATTERN),
    ("tags <= 50: 51", "Tags", [{"Key": f"k{n}", "Value": ""} for n in range(51)], LONG),
    ("tags: keys 128", "Tags", [{"Key": "k" * 129, "Value": ""}], LONG),
    ("tags: values 256", "Tags", [{"Key": "k", "Value": "v" * 257}], LONG),
    ("session policy 2048 chars", "Policy", document([ALL]).ljust(2049), LONG),
    ("10 managed ARNs", "PolicyArns", [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}] * 11, LONG),
    ("MinimumSessionTokenSize (0-4096)", "MinimumSessionTokenSize", 4097, "Member must have value less than"),
)
#: The longest and shortest valid values.
FITTING: tuple[dict[str, Any], ...] = (
    {"RoleSessionName": "a1"},
    {"RoleSessionName": "A_z+=,.@-" * 7},
    {"ExternalId": "a/"},
    {"ExternalId": "a:b/c-d@e" * 136},
    {"SourceIdentity": "a" * 64},
    {"Tags": [{"Key": f"k{n}", "Value": ""} for n in range(50)]},
    {"Tags": [{"Key": "k" * 128, "Value": "v" * 256}]},
    {"Policy": document([ALL]).ljust(2048)},
    {"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}] * 10},
    {"MinimumSessionTokenSize": 4096},
)


def _limit(name: str, value: object, words: str) -> Any:
    def ask(b: Bench) -> None:
        pair = MFA if name in MFA else {}
        assert words in validation_message(b.sts(b.user()).assume_role, **{**ROLE, **pair, name: value})

    return ask


for _words, _name, _value, _why in LIMITS:
    facts(_words)(_limit(_name, _value, _why))


@facts("constraints: what is just within them is taken")
def _(b: Bench) -> None:
    user = b.user()
    role = b.role(user)
    for more in FITTING:
        call = {"RoleArn": role.arn, "RoleSessionName": "fact"} | more
        assert b.sts(user).assume_role(**call)["Credentials"]


@facts("FederationToken Name 2-32")
def _(b: Bench) -> None:
    sts = b.sts(b.user(ALL))
    for name in ("a", "a" * 33, "a b", "a/b"):
        assert "at 'name'" in validation_message(sts.get_federation_token, Name=name)
    assert sts.get_federation_token(Name="a" * 32)


@facts("Session tokens are not bounded to a small size: opaque up to several KiB")
def _(b: Bench) -> None:
    user = b.user()
    credentials = b.assume_role(user, b.role(user), MinimumSessionTokenSize=4096)
    assert len(credentials["SessionToken"]) >= 4096
    assert b.sts(credentials).get_caller_identity()
    lengths = {len(b.session(user)["SessionToken"]) for _ in range(8)}
    assert len(lengths) > 1


@facts("a request that is not signed, or only half, is told what it lacks")
def _(b: Bench) -> None:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    for region in ("eu-west-1", "us-gov-west-1"):
        bare = boto3.client(
            "sts",
            region_name=region,
            endpoint_url=b.sandbox.url,
            config=Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}, proxies={}),
        )
        found = error_of(bare.get_caller_identity)
        assert (found.code, found.status) == ("MissingAuthenticationToken", 403)
