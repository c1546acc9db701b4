"""Native profile rows: kinds, keys, sessions and their expiry, accounts, locations, and the settings that
adopt would take."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.awsconfig.document import FileKind
from keyturn.awsconfig.loader import SharedConfig, read_files
from keyturn.awsconfig.native_profiles import NativeProfiles, credential_items
from keyturn.awsconfig.sdk_caches import SdkCaches
from keyturn.model.profile import Kind, Login, Origin, Profile, Session

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
AKIA = "AKIASP2TPHJSQH3FJRUX"
ASIA = "ASIAQNZGKIQY56JQ7WML"
KEYS = f"aws_access_key_id = {AKIA}\naws_secret_access_key = wJalrXUtnFEMI\n"
SESSION = f"aws_access_key_id = {ASIA}\naws_secret_access_key = wJalrXUtnFEMI\naws_session_token = IQoJb3\n"
SSO = (
    "[sso-session my-sso]\nsso_start_url = https://my-sso-portal.awsapps.com/start\nsso_region = us-east-1\n"
)


class Machine:
    """A home folder with shared files and SDK caches."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.aws = home / ".aws"
        self.aws.mkdir(mode=0o700)
        self.config = self.aws / "config"
        self.credentials = self.aws / "credentials"
        self.environ = {"HOME": str(home)}

    def write(self, config: str | None = None, credentials: str | None = None) -> SharedConfig:
        for path, text in ((self.config, config), (self.credentials, credentials)):
            if text is not None:
                path.write_text(text)
        return read_files(self.config, self.credentials)

    def rows(self, config: str | None = None, credentials: str | None = None) -> dict[str, Profile]:
        shared = self.write(config, credentials)
        return dict(NativeProfiles(shared, self.environ))

    def cache(self, name: str, table: object) -> None:
        path = self.aws / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(table if isinstance(table, str) else json.dumps(table))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_long_term_key_in_clear(machine: Machine) -> None:
    row = machine.rows(None, f"[ci]\n{KEYS}region = eu-west-1\n")["ci"]
    assert (row.kind, row.source, row.plaintext_key, row.problem) == (Kind.IAM_KEY, "ci", True, None)
    assert row.key is not None
    assert (row.key.key_id, row.key.created) == (AKIA, None)
    assert (row.account, row.account_derived, row.region) == ("171436882533", True, "eu-west-1")
    assert (row.session, row.managed, row.needs_person) == (None, False, False)
    assert "wJalrXUtnFEMI" not in repr(row)


def test_an_account_that_is_written_down_is_not_derived_and_old_key_ids_tell_none(machine: Machine) -> None:
    rows = machine.rows(
        None,
        f"[a]\n{KEYS}aws_account_id = 111122223333\n"
        "[old]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = s\n"
        "[odd]\naws_access_key_id = AKIAÄÖÜ4567890123456\naws_secret_access_key = s\n",
    )
    assert (rows["a"].account, rows["a"].account_derived) == ("111122223333", False)
    assert (rows["old"].account, rows["old"].account_derived) == (None, False)
    assert (rows["odd"].account, rows["odd"].account_derived) == (None, False)


@pytest.mark.parametrize(
    ("extra", "kind"),
    [
        ("", Kind.STATIC_SESSION),
        ("mfa_serial = arn:aws:iam::029608264753:mfa/me\n", Kind.MFA_SESSION),
        ("aws_mfa_device = arn:aws:iam::029608264753:mfa/me\n", Kind.MFA_SESSION),
        (f"[tmp-long-term]\n{KEYS}", Kind.MFA_SESSION),
    ],
)
def test_temporary_keys_in_a_file(machine: Machine, extra: str, kind: Kind) -> None:
    row = machine.rows(None, f"[tmp]\n{SESSION}{extra}")["tmp"]
    assert (row.kind, row.plaintext_key, row.key, row.problem) == (kind, False, None, None)
    assert row.session == Session(ASIA, None, None)
    assert (row.account, row.account_derived) == ("029608264753", True)


@pytest.mark.parametrize(
    ("line", "end"),
    [
        ("aws_expiration = 2026-03-01T13:00:00Z", NOW + timedelta(hours=1)),
        ("x_security_token_expires = 2026-03-01T14:00:00+01:00", NOW + timedelta(hours=1)),
        ("expiration = 2026-03-01 13:00:00", NOW + timedelta(hours=1)),
        ("expiration = 2026-03-01T13:00:00+00:00", NOW + timedelta(hours=1)),
        ("aws_expiration = 2026-03-01T13:00:00", None),
        ("aws_expiration = soon", None),
        ("aws_expiration =\n  a = b", None),
    ],
)
def test_the_end_of_temporary_keys_is_read_from_their_section(
    machine: Machine, line: str, end: datetime | None
) -> None:
    row = machine.rows(None, f"[tmp]\n{SESSION}{line}\n")["tmp"]
    assert row.session == Session(ASIA, None, end)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"aws_access_key_id = {ASIA}\naws_secret_access_key = s\n", "no aws_session_token"),
        (KEYS + "aws_session_token = t\n", "long-term key has a session token"),
        (f"aws_access_key_id = {AKIA}\naws_secret_access_key =\n", "is empty"),
        (f"aws_access_key_id = {AKIA}\naws_secret_access_key = a\n  b\n", "several lines"),
        ("aws_secret_access_key = s\n", "without aws_access_key_id"),
    ],
)
def test_keys_that_aws_is_sure_to_refuse_are_a_problem(machine: Machine, text: str, words: str) -> None:
    row = machine.rows(None, f"[x]\n{text}")["x"]
    assert words in (row.problem or "")
    assert row.session is None


def test_the_order_of_the_chain(machine: Machine) -> None:
    everything = (
        "role_arn = arn:aws:iam::111122223333:role/x\nsource_profile = base\nsso_session = my-sso\n"
        "sso_account_id = 444455556666\nsso_role_name = Admin\n"
        "login_session = arn:aws:iam::777788889999:user/al\n"
        f"credential_process = tool\n{KEYS}"
    )
    lines = everything.splitlines()
    expected = [
        (lines, "", Kind.ROLE, "base"),
        ([*lines, "web_identity_token_file = /t"], "", Kind.WEB_IDENTITY, "/t"),
        (lines[2:], KEYS, Kind.SSO_ROLE, "my-sso"),
        (lines[5:], KEYS, Kind.IAM_KEY, "x"),
        (lines[5:], "", Kind.CONSOLE_LOGIN, "arn:aws:iam::777788889999:user/al"),
        (lines[6:], "", Kind.PROCESS, "x"),
        (lines[7:], "", Kind.IAM_KEY, "x"),
        (["region = eu-west-1"], "", Kind.UNKNOWN, None),
    ]
    for config, credentials, kind, source in expected:
        text = "[profile x]\n" + "\n".join(config) + f"\n[profile base]\ncredential_process = t\n{SSO}"
        row = machine.rows(text, f"[x]\n{credentials}" if credentials else "")["x"]
        assert (row.kind, row.source, row.problem) == (kind, source, None), config


def test_accounts_and_roles_by_kind(machine: Machine) -> None:
    rows = machine.rows(
        "[profile role]\nrole_arn = arn:aws-cn:iam::111122223333:role/p/x\ncredential_source = Environment\n"
        "duration_seconds = 3600\n"
        "[profile sso]\nsso_account_id = 444455556666\nsso_role_name = Admin\nsso_session = my-sso\n"
        f"[profile login]\nlogin_session = arn:aws:iam::777788889999:user/al\n{SSO}"
        "[profile token]\nsso_session = my-sso\n[profile odd]\nrole_arn = nonsense\n"
        "credential_source = Environment\n"
        "duration_seconds = soon\n"
    )
    assert (rows["role"].account, rows["role"].role) == (
        "111122223333",
        "arn:aws-cn:iam::111122223333:role/p/x",
    )
    assert (rows["role"].source, rows["role"].chain, rows["role"].duration_seconds) == (
        "Environment",
        (),
        3600,
    )
    assert (rows["sso"].account, rows["sso"].role, rows["sso"].source) == ("444455556666", "Admin", "my-sso")
    assert rows["login"].account == "777788889999"
    assert (rows["token"].kind, rows["token"].source) == (Kind.UNKNOWN, "my-sso")
    assert (rows["odd"].account, rows["odd"].duration_seconds) == (None, None)


def test_the_region_is_the_profiles_own_else_that_of_the_environment(machine: Machine) -> None:
    machine.environ |= {"AWS_REGION": "us-east-2", "AWS_DEFAULT_REGION": "us-west-1"}
    rows = machine.rows(f"[profile a]\nregion = eu-west-1\n{KEYS}[profile b]\n{KEYS}")
    assert (rows["a"].region, rows["b"].region) == ("eu-west-1", "us-west-1")
    del machine.environ["AWS_DEFAULT_REGION"]
    assert machine.rows()["b"].region == "us-east-2"
    machine.environ["AWS_REGION"] = ""
    assert machine.rows()["b"].region is None


def test_every_value_knows_its_file_and_line(machine: Machine) -> None:
    shared = machine.write(
        f"[DEFAULT]\noutput = json\n[profile a]\nregion = x\nrole_arn = r\n[default]\nregion = y\n{SSO}",
        f"# c\n[a]\nregion = z\n{KEYS}",
    )
    config, credentials = str(machine.config), str(machine.credentials)
    assert shared.origin("a") == Origin(config, 3)
    assert shared.origin("a", "region") == Origin(credentials, 3)
    assert shared.origin("a", "role_arn") == Origin(config, 5)
    assert shared.origin("a", "output") == Origin(config, 2)
    assert shared.origin("default", "region") == Origin(config, 7)
    assert shared.origin("a", "nothing") is None
    assert shared.origin("nobody", "region") is None
    rows = machine.rows()
    assert rows["a"].origin == Origin(config, 3)
    assert machine.rows(f"[profile a]\n{KEYS}")["a"].origin == Origin(credentials, 2)


def test_a_refused_file_is_a_problem_and_the_other_one_counts(machine: Machine) -> None:
    shared = machine.write("[profile a]\nrole_arn = r\nnonsense\n", f"[b]\n{KEYS}")
    assert [(problem.path, problem.line) for problem in shared.problems] == [(str(machine.config), 3)]
    assert shared.config is None
    assert list(NativeProfiles(shared, machine.environ)) == ["b"]
    shared = machine.write(f"[profile a]\n{KEYS}", "x = 1\n")
    assert [(problem.path, problem.line) for problem in shared.problems] == [(str(machine.credentials), 1)]
    assert list(shared.full_config["profiles"]) == ["a"]


def test_files_that_are_not_there_or_no_files_are_absent(machine: Machine, full_config: Any) -> None:
    shared = machine.write()
    assert (shared.config, shared.credentials, shared.problems) == (None, None, ())
    assert shared.full_config == full_config(machine.config, machine.credentials) == {"profiles": {}}
    os.mkfifo(machine.config)
    machine.credentials.mkdir()
    shared = machine.write()
    assert shared.problems == ()
    assert shared.full_config == full_config(machine.config, machine.credentials)


def test_the_later_of_two_sections_of_one_profile_counts(machine: Machine, full_config: Any) -> None:
    shared = machine.write('[profile a]\nregion = x\noutput = json\n[profile "a"]\nregion = y\n')
    assert shared.full_config == full_config(machine.config, machine.credentials)
    assert shared.profiles == {"a": {"region": "y"}}
    assert shared.origin("a", "region") == Origin(str(machine.config), 5)
    assert shared.origin("a", "output") is None


def test_hostile_names_come_through_as_they_are(machine: Machine) -> None:
    name = "x\x1b]52;c;[/b]\u202e"
    assert list(machine.rows(None, f"[{name}]\n{KEYS}")) == [name]


SSO_PROFILE = (
    "[profile p]\nsso_session = my-sso\nsso_account_id = 123456789012\nsso_role_name = AdministratorAccess\n"
    + SSO
)
LEGACY = (
    "[profile p]\nsso_start_url = https://my-sso-portal.awsapps.com/start\nsso_region = us-east-1\n"
    "sso_account_id = 123456789012\nsso_role_name = AdministratorAccess\n"
)


@pytest.mark.parametrize(
    ("config", "token", "role"),
    [
        (SSO_PROFILE, "0ad374308c5a4e22f723adf10145eafad7c4031c", "c61222fe4c86bb5d3638873744d4cab00a0bf176"),
        (LEGACY, "c7aaaf71fcc8777ae2475525ed049d39fe16c484", "0b47dadec435258e163a83994ab65569695cabb1"),
    ],
)
def test_an_sso_profile_has_its_cached_credentials_and_its_sign_in(
    machine: Machine, config: str, token: str, role: str
) -> None:
    assert machine.rows(config)["p"].session is None
    assert machine.rows()["p"].login is None
    machine.cache(f"sso/cache/{token}.json", {"accessToken": "t", "expiresAt": "2026-03-01T18:00:00Z"})
    name = "my-sso" if "sso-session" in config else "https://my-sso-portal.awsapps.com/start"
    assert machine.rows()["p"].login == Login(name, Kind.SSO_ROLE, NOW + timedelta(hours=6))
    assert machine.rows()["p"].session is None
    credentials = {"AccessKeyId": ASIA, "SecretAccessKey": "s", "Expiration": "2026-03-01T12:40:00Z"}
    machine.cache(f"cli/cache/{role}.json", {"ProviderType": "sso", "Credentials": credentials})
    assert machine.rows()["p"].session == Session(ASIA, None, NOW + timedelta(minutes=40))
    credentials["Expiration"] = "2026-03-01T11:00:00UTC"
    machine.cache(f"cli/cache/{role}.json", {"Credentials": credentials})
    assert machine.rows()["p"].session == Session(ASIA, None, NOW - timedelta(hours=1))
    (machine.aws / "sso/cache" / f"{token}.json").unlink()
    assert machine.rows()["p"].login is None


TOKEN = {
    "accessToken": "t",
    "expiresAt": "2026-03-01T11:00:00Z",
    "refreshToken": "r",
    "clientId": "c",
    "clientSecret": "s",
    "registrationExpiresAt": "2026-04-01T12:00:00Z",
}
ROLE = "role_arn = arn:aws:iam::123456789012:role/Admin\n"


def test_a_role_has_the_sign_in_at_the_end_of_its_chain(machine: Machine) -> None:
    machine.cache("sso/cache/0ad374308c5a4e22f723adf10145eafad7c4031c.json", TOKEN)
    rows = machine.rows(
        f"{SSO_PROFILE}[profile r]\n{ROLE}source_profile = p\n[profile rr]\n{ROLE}source_profile = r\n"
        f"[profile machine]\n{ROLE}credential_source = Environment\n"
    )
    login = rows["p"].login
    assert login is not None
    assert (login.name, login.is_renewable) == ("my-sso", True)
    assert rows["r"].login == rows["rr"].login == login
    assert rows["machine"].login is None


def test_a_role_whose_source_signs_with_its_own_keys_has_no_sign_in(machine: Machine) -> None:
    machine.cache("sso/cache/0ad374308c5a4e22f723adf10145eafad7c4031c.json", TOKEN)
    rows = machine.rows(
        f"{SSO_PROFILE}[profile keys]\n{ROLE}source_profile = p\n{KEYS}"
        f"[profile r]\n{ROLE}source_profile = keys\n[profile self]\n{ROLE}source_profile = self\n{KEYS}"
        f"[profile a]\n{ROLE}source_profile = b\n{KEYS}[profile b]\n{ROLE}source_profile = a\n{KEYS}"
    )
    assert {name: row.login is not None for name, row in rows.items()} == {
        "p": True, "keys": True, "r": False, "self": False, "a": False, "b": False,
    }  # fmt: skip


def test_a_profile_with_a_problem_has_no_sign_in(machine: Machine) -> None:
    machine.cache("sso/cache/0ad374308c5a4e22f723adf10145eafad7c4031c.json", TOKEN)
    row = machine.rows(SSO_PROFILE.replace("sso_role_name", "role_name"))["p"]
    assert row.problem is not None
    assert (row.session, row.login) == (None, None)


def test_the_end_of_a_role_is_that_of_the_command_lines_cache(machine: Machine) -> None:
    config = "[profile r]\nrole_arn = arn:aws:iam::123456789012:role/Admin\ncredential_source = Environment\n"
    table = {"Credentials": {"AccessKeyId": ASIA, "Expiration": "2026-03-01T13:00:00+00:00"}}
    machine.cache("cli/cache/51e7b105b5040ce662656c8dc6ab4de70c4de7ad.json", table)
    assert machine.rows(config)["r"].session == Session(ASIA, None, NOW + timedelta(hours=1))
    assert machine.rows(config + "external_id = other\n")["r"].session is None


def test_the_cache_of_a_role_with_every_argument_has_botocores_own_name(machine: Machine) -> None:
    from botocore import credentials

    arguments = {"ExternalId": "e", "SerialNumber": "m", "DurationSeconds": 900, "RoleSessionName": "n"}
    made: Any = credentials.AssumeRoleCredentialFetcher
    fetcher = made(None, None, "arn:aws:iam::123456789012:role/A", arguments)
    table = {"Credentials": {"AccessKeyId": ASIA, "Expiration": "2026-03-01T13:00:00Z"}}
    machine.cache(f"cli/cache/{fetcher._create_cache_key()}.json", table)
    row = machine.rows(
        "[profile r]\nrole_arn = arn:aws:iam::123456789012:role/A\ncredential_source = Environment\n"
        "external_id = e\n"
        "mfa_serial = m\nduration_seconds = 900\nrole_session_name = n\n"
    )["r"]
    assert (row.session, row.needs_person) == (Session(ASIA, None, NOW + timedelta(hours=1)), True)


def test_the_end_of_a_console_sign_in(machine: Machine, tmp_path: Path) -> None:
    config = "[profile l]\nlogin_session = arn:aws:iam::123456789012:user/alice\n"
    name = "b7d71d383b9557a9bad4c3346c50365819226484c6824a0fdef66637be339db0.json"
    table = {"accessToken": {"accessKeyId": ASIA, "expiresAt": "2026-03-01T12:15:00Z"}}
    machine.cache(f"login/cache/{name}", table)
    expected = Session(ASIA, None, NOW + timedelta(minutes=15))
    assert machine.rows(config)["l"].session == expected
    arn = "arn:aws:iam::123456789012:user/alice"
    assert machine.rows()["l"].login == Login(arn, Kind.CONSOLE_LOGIN, NOW + timedelta(minutes=15))
    machine.environ["AWS_LOGIN_CACHE_DIRECTORY"] = str(tmp_path / "other")
    assert machine.rows()["l"].session is None
    (tmp_path / "other").mkdir()
    (machine.aws / "login/cache" / name).rename(tmp_path / "other" / name)
    assert machine.rows()["l"].session == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"accessToken": 1}',
        '{"accessToken": "t", "expiresAt": 5}',
        "[" * 100_000,
        "\x00",
    ],
    ids=range(8),
)
def test_a_torn_or_strange_cache_counts_as_none(machine: Machine, text: str) -> None:
    for name in (
        "sso/cache/0ad374308c5a4e22f723adf10145eafad7c4031c",
        "cli/cache/c61222fe4c86bb5d3638873744d4cab00a0bf176",
    ):
        machine.cache(f"{name}.json", text)
    row = machine.rows(SSO_PROFILE)["p"]
    assert (row.session, row.login) == (None, None)


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "too long", "denied"])
def test_a_token_that_cannot_be_read_counts_as_none(
    machine: Machine, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = "[profile l]\nlogin_session = arn:aws:iam::123456789012:user/alice\n"
    access = {"accessKeyId": ASIA, "expiresAt": "2026-03-01T12:15:00Z"}
    tokens = {
        "sso/cache/0ad374308c5a4e22f723adf10145eafad7c4031c.json": TOKEN,
        "login/cache/b7d71d383b9557a9bad4c3346c50365819226484c6824a0fdef66637be339db0.json": {
            "accessToken": access
        },
    }
    for name, token in tokens.items():
        machine.cache(name, token)
    logins = {row.login is not None for row in machine.rows(SSO_PROFILE + console).values()}
    assert logins == {True}
    for name in tokens:
        path = machine.aws / name
        text = path.read_text()
        path.unlink()
        match kind:
            case "folder":
                path.mkdir()
            case "pipe":
                os.mkfifo(path)
            case "loop":
                path.symlink_to(path)
            case "too long":
                path.write_text(text + " " * 2**20)
            case _:
                path.write_text(text)
    if kind == "denied":
        real = os.open

        def denied(path: Any, *rest: Any) -> int:
            if str(path).endswith(".json"):
                raise PermissionError(13, "Permission denied")
            return real(path, *rest)

        monkeypatch.setattr(os, "open", denied)
    found = machine.rows()
    assert {(row.session, row.login) for row in found.values()} == {(None, None)}


def test_a_change_of_a_cached_token_is_noticed(machine: Machine) -> None:
    name = "sso/cache/0ad374308c5a4e22f723adf10145eafad7c4031c.json"
    seen = [SdkCaches(machine.environ).stamp()]

    def is_noticed() -> bool:
        seen.append(SdkCaches(machine.environ).stamp())
        return seen[-1] != seen[-2]

    machine.cache(name, TOKEN)
    assert is_noticed()
    assert not is_noticed()
    machine.cache(name, {**TOKEN, "expiresAt": "2026-03-01T18:00:00.000Z"})
    assert is_noticed()
    (machine.aws / name).unlink()
    assert is_noticed()
    machine.cache("cli/cache/x.json", {})
    assert is_noticed()
    machine.cache("login/cache/x.json", {})
    assert is_noticed()
    (machine.aws / "login/cache/broken.json").symlink_to("nowhere")
    assert is_noticed()
    machine.cache("login/cache/y.json", {})
    assert is_noticed()
    machine.cache("login/cache/y.json", {"a": 1})
    assert is_noticed()
    assert not is_noticed()


def test_adopt_takes_the_credential_settings_of_both_files_and_nothing_else(machine: Machine) -> None:
    shared = machine.write(
        "[profile a]\nregion = x\noutput = json\nrole_arn = r\nsource_profile = b\nmfa_serial = m\n"
        "services = s\n"
        "s3 =\n  max_queue_size = 9\nendpoint_url = http://x\naws_account_id = 111122223333\n",
        f"[a]\n{KEYS}aws_session_token = t\naws_expiration = never\n",
    )
    items = credential_items(shared, "a")
    config, credentials = str(machine.config), str(machine.credentials)
    assert [(item.kind, item.section, item.key, item.origin) for item in items] == [
        (FileKind.CONFIG, "profile a", "role_arn", Origin(config, 4)),
        (FileKind.CONFIG, "profile a", "source_profile", Origin(config, 5)),
        (FileKind.CONFIG, "profile a", "mfa_serial", Origin(config, 6)),
        (FileKind.CREDENTIALS, "a", "aws_access_key_id", Origin(credentials, 2)),
        (FileKind.CREDENTIALS, "a", "aws_secret_access_key", Origin(credentials, 3)),
        (FileKind.CREDENTIALS, "a", "aws_session_token", Origin(credentials, 4)),
    ]
    assert items[4].value.reveal() == "wJalrXUtnFEMI"
    assert "wJalrXUtnFEMI" not in repr((items, shared, shared.profiles))
    assert credential_items(shared, "nobody") == ()


def test_a_setting_that_default_gives_is_found_there(machine: Machine) -> None:
    shared = machine.write(None, f"[DEFAULT]\n{KEYS}[a]\nregion = x\n")
    assert [(item.section, item.key) for item in credential_items(shared, "a")] == [
        ("DEFAULT", "aws_access_key_id"),
        ("DEFAULT", "aws_secret_access_key"),
    ]
    assert machine.rows()["a"].kind is Kind.IAM_KEY


def test_a_file_that_may_not_be_read_is_a_problem_where_botocore_is_silent(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.write(None, f"[a]\n{KEYS}")
    machine.config.write_text("[profile b]\n")
    real = os.open

    def denied(path: Any, *rest: Any) -> int:
        if path == machine.config:
            raise PermissionError(13, "Permission denied")
        return real(path, *rest)

    monkeypatch.setattr(os, "open", denied)
    shared = machine.write()
    assert [(problem.path, problem.line) for problem in shared.problems] == [(str(machine.config), 0)]
    assert "Permission denied" in shared.problems[0].reason
    assert list(shared.profiles) == ["a"]
