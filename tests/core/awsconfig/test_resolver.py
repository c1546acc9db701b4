"""The resolution of a profile's credentials, as botocore does it: tables of files and their results."""

from __future__ import annotations

import pytest

from keyturn.awsconfig.document import FileKind, parse
from keyturn.awsconfig.loader import SharedConfig, combine
from keyturn.awsconfig.resolver import Resolution, Resolver
from keyturn.model.profile import Kind

LONG = "aws_access_key_id=AKIASP2TPHJSQH3FJRUX\naws_secret_access_key=s\n"
SHORT = "aws_access_key_id=ASIASP2TPHJSQH3FJRUX\naws_secret_access_key=s\naws_session_token=t\n"
LONG_ID, SHORT_ID = "AKIASP2TPHJSQH3FJRUX", "ASIASP2TPHJSQH3FJRUX"
SSO = "sso_account_id=111122223333\nsso_role_name=Admin\n"
LEGACY = SSO + "sso_start_url=https://a.awsapps.com/start\nsso_region=eu-west-1\n"
CORP = "[sso-session corp]\nsso_start_url=https://c.awsapps.com/start\nsso_region=eu-west-1\n"
ROLE = "role_arn=arn:aws:iam::111122223333:role/x\n"
WEB = "web_identity_token_file=/run/token\n" + ROLE
IN_CREDENTIALS, IN_CONFIG = FileKind.CREDENTIALS, FileKind.CONFIG


def shared(config: str, credentials: str = "") -> SharedConfig:
    first = parse(config.encode(), "config", FileKind.CONFIG)
    second = parse(credentials.encode(), "credentials", FileKind.CREDENTIALS)
    return combine(first, second, "config", "credentials")


def way(config: str, credentials: str = "", name: str = "a") -> Resolution:
    return Resolver(shared(config, credentials)).resolve(name)


def keys(
    kind: Kind, key_id: str | None, file: FileKind, *, token: bool = False, name: str = "a"
) -> Resolution:
    return Resolution(kind, name, decider="aws_access_key_id", key_id=key_id, token=token, file=file)


#: Name, config file, credentials file, the resolution of profile `a`.
OWN: list[tuple[str, str, str, Resolution]] = [
    ("nothing", "[profile a]\nregion=x\n", "", Resolution()),
    ("a long-term key", f"[profile a]\n{LONG}", "", keys(Kind.IAM_KEY, LONG_ID, IN_CONFIG)),
    ("in the credentials file", "", f"[a]\n{LONG}", keys(Kind.IAM_KEY, LONG_ID, IN_CREDENTIALS)),
    ("the credentials file before config", f"[profile a]\n{SHORT}", f"[a]\n{LONG}",
     keys(Kind.IAM_KEY, LONG_ID, IN_CREDENTIALS)),
    ("temporary keys", f"[profile a]\n{SHORT}", "",
     keys(Kind.STATIC_SESSION, SHORT_ID, IN_CONFIG, token=True)),
    ("the older token", f"[profile a]\n{SHORT.replace('session', 'security')}", "",
     keys(Kind.STATIC_SESSION, SHORT_ID, IN_CONFIG, token=True)),
    ("an empty token is none", f"[profile a]\n{LONG}aws_session_token=\n", "",
     keys(Kind.IAM_KEY, LONG_ID, IN_CONFIG)),
    ("a key id of no known kind", "[profile a]\naws_access_key_id=X\naws_secret_access_key=s\n", "",
     keys(Kind.IAM_KEY, "X", IN_CONFIG)),
    ("one of no known kind with a token", f"[profile a]\n{SHORT.replace('ASIA', 'XSIA')}", "",
     keys(Kind.STATIC_SESSION, "XSIASP2TPHJSQH3FJRUX", IN_CONFIG, token=True)),
    ("a key of [DEFAULT]", f"[DEFAULT]\n{LONG}[profile a]\nregion=x\n", "",
     keys(Kind.IAM_KEY, LONG_ID, IN_CONFIG)),
    ("web identity", f"[profile a]\n{WEB}", "",
     Resolution(Kind.WEB_IDENTITY, "/run/token", decider="web_identity_token_file")),
    ("web identity before SSO and keys", f"[profile a]\n{WEB}{LEGACY}{LONG}", "",
     Resolution(Kind.WEB_IDENTITY, "/run/token", decider="web_identity_token_file")),
    ("an empty token file is none", f"[profile a]\nweb_identity_token_file=\n{LONG}", "",
     keys(Kind.IAM_KEY, LONG_ID, IN_CONFIG)),
    ("SSO without a session", f"[profile a]\n{LEGACY}", "",
     Resolution(Kind.SSO_ROLE, "https://a.awsapps.com/start", decider="sso_account_id")),
    ("SSO with a session", f"[profile a]\n{SSO}sso_session=corp\n{CORP}", "",
     Resolution(Kind.SSO_ROLE, "corp", decider="sso_account_id")),
    ("SSO with the session's own words again",
     f"[profile a]\n{SSO}sso_session=corp\nsso_region=eu-west-1\n{CORP}", "",
     Resolution(Kind.SSO_ROLE, "corp", decider="sso_account_id")),
    ("SSO before keys", f"[profile a]\n{LEGACY}", f"[a]\n{LONG}",
     Resolution(Kind.SSO_ROLE, "https://a.awsapps.com/start", decider="sso_account_id")),
    ("an sso_session alone is a bearer token", f"[profile a]\nsso_session=corp\n{CORP}", "",
     Resolution(source="corp")),
    ("an sso_start_url alone is nothing", f"[profile a]\nsso_start_url=u\nsso_region=r\n{LONG}", "",
     keys(Kind.IAM_KEY, LONG_ID, IN_CONFIG)),
    ("a login", "[profile a]\nlogin_session=arn:aws:iam::1:user/u\n", "",
     Resolution(Kind.CONSOLE_LOGIN, "arn:aws:iam::1:user/u", decider="login_session")),
    ("keys of the credentials file before a login", "[profile a]\nlogin_session=x\n", f"[a]\n{LONG}",
     keys(Kind.IAM_KEY, LONG_ID, IN_CREDENTIALS)),
    ("a login before a process and keys of config",
     f"[profile a]\nlogin_session=x\ncredential_process=p\n{LONG}", "",
     Resolution(Kind.CONSOLE_LOGIN, "x", decider="login_session")),
    ("a process", "[profile a]\ncredential_process=tool --x\n", "",
     Resolution(Kind.PROCESS, "a", decider="credential_process")),
    ("a process before keys of config", f"[profile a]\ncredential_process=tool\n{LONG}", "",
     Resolution(Kind.PROCESS, "a", decider="credential_process")),
    ("keys of the credentials file before a process", "[profile a]\ncredential_process=tool\n",
     f"[a]\n{LONG}", keys(Kind.IAM_KEY, LONG_ID, IN_CREDENTIALS)),
    ("a process of the credentials file", "", "[a]\ncredential_process=tool\n",
     Resolution(Kind.PROCESS, "a", decider="credential_process")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "credentials", "expected"), [case[1:] for case in OWN], ids=[case[0] for case in OWN]
)
def test_a_profiles_own_way(config: str, credentials: str, expected: Resolution) -> None:
    assert way(config, credentials) == expected


def role(source: str | None, chain: tuple[str, ...] = (), **more: object) -> Resolution:
    return Resolution(Kind.ROLE, source, chain, decider="role_arn", **more)  # type: ignore[arg-type]  # fields by name


BY_B = f"[profile a]\n{ROLE}source_profile=b\n"
#: Name, config file, the resolution of the role `a`.
ROLES: list[tuple[str, str, Resolution]] = [
    ("a user", f"{BY_B}[profile b]\n{LONG}", role("b", ("b",), key_id=LONG_ID)),
    ("itself, with keys", f"[profile a]\n{ROLE}source_profile=a\n{LONG}", role("a", ("a",), key_id=LONG_ID)),
    ("a role that has keys too", f"{BY_B}[profile b]\n{ROLE}source_profile=c\n{LONG}",
     role("b", ("b",), key_id=LONG_ID)),
    ("a chain", f"{BY_B}[profile b]\n{ROLE}source_profile=c\n[profile c]\n{LONG}",
     role("c", ("b", "c"), key_id=LONG_ID)),
    ("an SSO role", f"{BY_B}[profile b]\n{LEGACY}", role("https://a.awsapps.com/start", ("b",))),
    ("web identity, which is no role to go on from", f"{BY_B}[profile b]\n{WEB}", role("/run/token", ("b",))),
    ("a process", f"{BY_B}[profile b]\ncredential_process=p\n", role("b", ("b",))),
    ("an environment", f"[profile a]\n{ROLE}credential_source=Environment\n",
     role("Environment", credential_source="Environment")),
    ("an instance", f"[profile a]\n{ROLE}credential_source=Ec2InstanceMetadata\n",
     role("Ec2InstanceMetadata", credential_source="Ec2InstanceMetadata")),
    ("a container, further on", f"{BY_B}[profile b]\n{ROLE}credential_source=EcsContainer\n",
     role("EcsContainer", ("b",), credential_source="EcsContainer")),
    ("a code", f"{BY_B}mfa_serial=m\n[profile b]\n{LONG}", role("b", ("b",), key_id=LONG_ID, prompts=True)),
    ("a code further on", f"{BY_B}[profile b]\n{ROLE}source_profile=c\nmfa_serial=m\n[profile c]\n{LONG}",
     role("c", ("b", "c"), key_id=LONG_ID, prompts=True)),
    ("a code at the first of two",
     f"{BY_B}mfa_serial=m\n[profile b]\n{ROLE}source_profile=c\n[profile c]\n{LONG}",
     role("c", ("b", "c"), key_id=LONG_ID, prompts=True)),
    ("a serial of the user, who is not asked", f"{BY_B}[profile b]\nmfa_serial=m\n{LONG}",
     role("b", ("b",), key_id=LONG_ID)),
    ("a source that has a login", f"{BY_B}[profile b]\nlogin_session=x\n", role("x", ("b",))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "expected"), [case[1:] for case in ROLES], ids=[case[0] for case in ROLES]
)
def test_a_roles_way(config: str, expected: Resolution) -> None:
    assert way(config) == expected


def test_a_role_comes_before_all_else_but_web_identity() -> None:
    more = f"{LEGACY}{LONG}credential_process=p\n"
    assert way(f"{BY_B}{more}[profile b]\n{LONG}").kind is Kind.ROLE
    assert way(f"{BY_B}{more}web_identity_token_file=/t\n[profile b]\n{LONG}").kind is Kind.WEB_IDENTITY


#: Name, config file, credentials file, kind, source, deciding setting, words of the problem, botocore's words
#: among them.
PROBLEMS: list[tuple[str, str, str, Kind, str | None, str | None, str]] = [
    ("only a secret", "[profile a]\naws_secret_access_key=s\n", "", Kind.UNKNOWN, None, None,
     "aws_secret_access_key"),
    ("half a key", "[profile a]\naws_access_key_id=X\n", "", Kind.IAM_KEY, "a", "aws_access_key_id",
     "Partial credentials found in config-file, missing: aws_secret_access_key"),
    ("half a key in the other file", "", "[a]\naws_access_key_id=X\n", Kind.IAM_KEY, "a", "aws_access_key_id",
     "Partial credentials found in shared-credentials-file, missing: aws_secret_access_key"),
    ("temporary keys without a token", f"[profile a]\n{LONG.replace('AKIA', 'ASIA')}", "",
     Kind.STATIC_SESSION, "a", "aws_access_key_id", "aws_session_token"),
    ("a token beside a long-term key", f"[profile a]\n{LONG}aws_session_token=t\n", "", Kind.IAM_KEY, "a",
     "aws_access_key_id", "long-term key"),
    ("the older token beside one", f"[profile a]\n{LONG}aws_security_token=t\n", "", Kind.IAM_KEY, "a",
     "aws_access_key_id", "long-term key"),
    ("web identity without a role", "[profile a]\nweb_identity_token_file=/t\n", "", Kind.WEB_IDENTITY, "/t",
     "web_identity_token_file", "role_arn"),
    ("web identity with an empty role", "[profile a]\nweb_identity_token_file=/t\nrole_arn=\n", "",
     Kind.WEB_IDENTITY, "/t", "web_identity_token_file", "role_arn"),
    ("SSO without anything else", "[profile a]\nsso_account_id=1\n", "", Kind.SSO_ROLE, None,
     "sso_account_id", "missing required configuration: sso_role_name, sso_start_url, sso_region"),
    ("SSO without an account", "[profile a]\nsso_role_name=r\nsso_start_url=u\nsso_region=r\n", "",
     Kind.SSO_ROLE, None, "sso_role_name", "missing required configuration: sso_account_id"),
    ("SSO of a session that is gone", f"[profile a]\n{SSO}sso_session=gone\n", "", Kind.SSO_ROLE, "gone",
     "sso_account_id", 'sso-session does not exist: "gone"'),
    ("SSO of half a session", f"[profile a]\n{LEGACY}sso_session=s\n[sso-session s]\nsso_region=eu-west-1\n",
     "", Kind.SSO_ROLE, "s", "sso_account_id",
     'The sso-session "s" is missing required configuration: sso_start_url'),
    ("SSO that contradicts its session", f"[profile a]\n{LEGACY}sso_session=corp\n{CORP}", "", Kind.SSO_ROLE,
     "corp", "sso_account_id",
     "inconsistent between profile (https://a.awsapps.com/start) and sso-session (https://c.awsapps.com/start)"),
    ("a nested block for SSO",
     f"[profile a]\n{LEGACY.replace('sso_region=eu-west-1', 'sso_region=')}  a = b\n", "", Kind.SSO_ROLE,
     None, "sso_account_id", "sso_region is a nested block"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "credentials", "decided", "words"),
    [(*case[1:3], case[3:6], case[6]) for case in PROBLEMS],
    ids=[case[0] for case in PROBLEMS],
)
def test_a_problem_keeps_what_decided(
    config: str, credentials: str, decided: tuple[Kind, str | None, str | None], words: str
) -> None:
    found = way(config, credentials)
    assert words in (found.problem or "")
    assert (found.kind, found.source, found.decider) == decided


@pytest.mark.parametrize(
    "pair",
    [
        "aws_access_key_id=\naws_secret_access_key=s\n",
        "aws_access_key_id=X\naws_secret_access_key=\n",
        "aws_access_key_id=X\n  y\naws_secret_access_key=s\n",
        "aws_access_key_id=X\naws_secret_access_key=s\n  t\n",
    ],
    ids=["no id", "no secret", "an id of two lines", "a secret of two lines"],
)
def test_a_key_that_no_request_can_be_signed_with_is_a_problem_without_an_id(pair: str) -> None:
    found = way(f"[profile a]\n{pair}")
    assert found.problem
    assert (found.kind, found.file, found.key_id) == (Kind.IAM_KEY, IN_CONFIG, None)


#: Name, config file, words of the problem, the chain up to the problem.
BROKEN_ROLES: list[tuple[str, str, str, tuple[str, ...]]] = [
    ("a broken source", f"{BY_B}[profile b]\naws_access_key_id=X\n",
     'source profile "b" is invalid: Partial credentials', ("b",)),
    ("a bare source", f"{BY_B}[profile b]\nregion=x\n", 'The source profile "b" must have credentials',
     ("b",)),
    ("a bare source with half a key", f"{BY_B}[profile b]\naws_secret_access_key=s\n",
     'source profile "b" is invalid', ("b",)),
    ("a broken source further on", f"{BY_B}[profile b]\n{ROLE}source_profile=c\n[profile c]\n{SSO}",
     'source profile "c" is invalid', ("b", "c")),
    ("no source further on", f"{BY_B}[profile b]\n{ROLE}", "missing: source_profile or credential_source",
     ("b",)),
    ("both sources", f"{BY_B}credential_source=Environment\n[profile b]\n{LONG}",
     'The profile "a" contains both source_profile and credential_source', ()),
    ("no such source", BY_B, 'The source_profile "b" referenced in the profile "a" does not exist', ()),
    ("itself without keys", f"[profile a]\n{ROLE}source_profile=a\n", "Infinite loop", ()),
    ("itself with half a key", f"[profile a]\n{ROLE}source_profile=a\naws_access_key_id=X\n",
     "Partial credentials", ("a",)),
    ("a circle", f"{BY_B}[profile b]\n{ROLE}source_profile=a\n", "Infinite loop", ("b",)),
    ("a circle to a role with keys", f"{BY_B}{LONG}[profile b]\n{ROLE}source_profile=a\n", "Infinite loop",
     ("b",)),
    ("a role with only a key id",
     f"{BY_B}[profile b]\n{ROLE}source_profile=c\naws_access_key_id=X\n[profile c]\n{LONG}",
     'source profile "b" is invalid: Partial', ("b",)),
    ("a role with only a secret",
     f"{BY_B}[profile b]\n{ROLE}source_profile=c\naws_secret_access_key=s\n[profile c]\n{LONG}",
     'source profile "b" is invalid', ("b",)),
    ("an odd credential source further on", f"{BY_B}[profile b]\n{ROLE}credential_source=ecscontainer\n",
     '"ecscontainer" referenced in profile "b"', ("b",)),
    ("a serial that is empty", f"{BY_B}mfa_serial=\n[profile b]\n{LONG}", "its mfa_serial is empty", ()),
    ("an empty external id further on",
     f"{BY_B}[profile b]\n{ROLE}external_id=\nsource_profile=c\n[profile c]\n{LONG}",
     "its external_id is empty", ("b",)),
    ("a nested role", "[profile a]\nrole_arn=\n  a = b\nsource_profile=b\n", "role_arn is a nested block",
     ()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "words", "chain"), [case[1:] for case in BROKEN_ROLES], ids=[case[0] for case in BROKEN_ROLES]
)
def test_a_role_tells_what_is_wrong_on_its_way(config: str, words: str, chain: tuple[str, ...]) -> None:
    found = way(config)
    assert words in (found.problem or "")
    assert (found.kind, found.chain, found.decider) == (Kind.ROLE, chain, "role_arn")


def test_botocore_names_the_profiles_of_a_circle() -> None:
    found = way(f"{BY_B}[profile b]\n{ROLE}source_profile=c\n[profile c]\n{ROLE}source_profile=b\n")
    assert "Visited profiles: ['a', 'b', 'c']" in (found.problem or "")


def test_a_role_whose_source_is_broken_still_names_the_source_and_its_key() -> None:
    config = f"{BY_B}[profile b]\n{LONG}aws_session_token=t\n"
    assert (way(config).source, way(config).key_id) == ("b", LONG_ID)


def test_keys_of_one_file_are_not_paired_with_those_of_the_other() -> None:
    found = way("[profile a]\naws_access_key_id=X\n", "[a]\naws_secret_access_key=s\n")
    assert found.file is IN_CONFIG
    assert "missing: aws_secret_access_key" in (found.problem or "")


def test_a_file_that_is_not_there_holds_no_keys() -> None:
    config = parse(f"[profile a]\n{LONG}".encode(), "config", FileKind.CONFIG)
    credentials = parse(f"[a]\n{LONG}".encode(), "credentials", FileKind.CREDENTIALS)
    assert Resolver(combine(config, None, "config", "credentials")).resolve("a").file is IN_CONFIG
    assert Resolver(combine(None, credentials, "config", "credentials")).resolve("a").file is IN_CREDENTIALS


def test_a_profile_is_resolved_once_however_many_roles_rest_on_it() -> None:
    resolver = Resolver(shared(f"{BY_B}[profile b]\n{LONG}"))
    assert resolver.resolve("b") is resolver.resolve("b")
    assert resolver.resolve("a").key_id == LONG_ID
