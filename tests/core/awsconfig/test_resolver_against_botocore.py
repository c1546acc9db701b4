"""Generated profiles, resolved by botocore's own providers and by keyturn: the same provider, the same
refusals."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from botocore import exceptions
from botocore.credentials import ProcessProvider, create_credential_resolver
from botocore.session import Session

from keyturn.awsconfig.document import FileKind
from keyturn.awsconfig.loader import read_files
from keyturn.awsconfig.native_profiles import NativeProfiles, dependants
from keyturn.model.profile import Kind, Profile

KINDS = {
    "assume-role": {Kind.ROLE},
    "assume-role-with-web-identity": {Kind.WEB_IDENTITY},
    "sso": {Kind.SSO_ROLE},
    "shared-credentials-file": {Kind.IAM_KEY, Kind.STATIC_SESSION, Kind.MFA_SESSION},
    "config-file": {Kind.IAM_KEY, Kind.STATIC_SESSION, Kind.MFA_SESSION},
    "custom-process": {Kind.PROCESS},
    None: {Kind.UNKNOWN},
}
NAMES = ["a", "b", "c", "d", "default", "e f"]
SETTINGS = {
    "role_arn": ["arn:aws:iam::111122223333:role/x"],
    "source_profile": [*NAMES, *NAMES, "missing"],
    "credential_source": ["Environment", "Environment", "environment", "Elsewhere"],
    "web_identity_token_file": ["/nowhere/token", ""],
    "sso_session": ["corp", "corp", "gone"],
    "sso_account_id": ["111122223333"],
    "sso_role_name": ["Admin"],
    "sso_start_url": ["https://corp.awsapps.com/start", "https://other.awsapps.com/start"],
    "sso_region": ["eu-west-1"],
    "credential_process": ["/opt/tool x", "tool"],
    "aws_access_key_id": ["AKIASP2TPHJSQH3FJRUX"],
    "aws_secret_access_key": ["s" * 40],
    "mfa_serial": ["arn:aws:iam::111122223333:mfa/me"],
    "duration_seconds": ["900", "soon"],
    "region": ["eu-west-1"],
}
GROUPS = [
    ("role_arn", "source_profile"),
    ("role_arn", "source_profile", "aws_access_key_id", "aws_secret_access_key"),
    ("role_arn", "credential_source"),
    ("aws_access_key_id", "aws_secret_access_key"),
    ("sso_session", "sso_account_id", "sso_role_name"),
    ("sso_account_id", "sso_role_name", "sso_start_url", "sso_region"),
    ("web_identity_token_file", "role_arn"),
    ("credential_process",),
    (),
]


def profile(rng: random.Random) -> dict[str, str]:
    keys = set(rng.choice(GROUPS))
    if rng.random() < 0.35:
        keys ^= set(rng.sample(sorted(SETTINGS), rng.randint(1, 3)))
    return {key: rng.choice(SETTINGS[key]) for key in sorted(keys)}


def make(seed: int) -> tuple[str, str]:
    rng = random.Random(seed)  # noqa: S311  # test material
    texts = {}
    for kind in FileKind:
        lines = []
        for name in NAMES:
            if rng.random() < 0.6:
                header = name if name == "default" or kind is FileKind.CREDENTIALS else f'profile "{name}"'
                lines += [f"[{header}]", *(f"{key} = {value}" for key, value in profile(rng).items())]
        texts[kind] = "\n".join(lines) + "\n"
    session = "[sso-session corp]\nsso_start_url = https://corp.awsapps.com/start\nsso_region = eu-west-1\n"
    return texts[FileKind.CONFIG] + session, texts[FileKind.CREDENTIALS]


def ask_botocore(name: str) -> tuple[str | None, Exception | None]:
    """Return botocore's method for a profile's credentials, or its reason for refusing."""
    session = Session(profile=name)
    try:
        credentials = create_credential_resolver(session).load_credentials()
    except exceptions.BotoCoreError as error:
        return None, error
    return (None if credentials is None else credentials.method), None


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, Path]:
    """A machine without network and with keys in its environment; no process is started."""
    for name in (
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_SESSION_TOKEN",
        "AWS_SECURITY_TOKEN",
        "AWS_ROLE_ARN",
    ):
        monkeypatch.delenv(name, raising=False)
    config, credentials = tmp_path / "config", tmp_path / "credentials"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASP2TPHJSQH3FJRUX")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "t" * 40)
    monkeypatch.setattr(
        ProcessProvider, "_retrieve_credentials_using", lambda *_: {"access_key": "A", "secret_key": "B"}
    )
    return config, credentials


def agree(row: Profile, method: str | None, error: Exception | None) -> bool:
    if error is not None:
        return row.problem is not None
    if method is None and row.problem is not None:
        return "aws_secret_access_key without aws_access_key_id" in row.problem
    return row.problem is None and row.kind in KINDS[method]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [30, pytest.param(1500, marks=pytest.mark.campaign)])
def test_our_way_to_credentials_is_botocores(count: int, machine: tuple[Path, Path]) -> None:
    config, credentials = machine
    counts: dict[str, int] = {}
    for number in range(count):
        for path, text in zip(machine, make(number), strict=True):
            path.write_text(text)
        rows = NativeProfiles(read_files(config, credentials), {"HOME": str(config.parent)})
        for row in rows.values():
            method, error = ask_botocore(row.name)
            word = type(error).__name__ if error else str(method)
            counts[word] = counts.get(word, 0) + 1
            assert agree(row, method, error), (number, row.name, row.kind, row.problem, method, error)
            if isinstance(error, exceptions.InfiniteLoopConfigError | exceptions.PartialCredentialsError):
                assert row.problem is not None
                assert str(error).rstrip(".") in row.problem, (number, row.name)
    assert {
        "assume-role",
        "sso",
        "config-file",
        "InvalidConfigError",
        "InfiniteLoopConfigError",
        "None",
    } <= set(counts)


def write(machine: tuple[Path, Path], config: str, credentials: str = "") -> dict[str, Profile]:
    for path, text in zip(machine, (config, credentials), strict=True):
        path.write_text(text)
    return dict(NativeProfiles(read_files(*machine), {"HOME": str(machine[0].parent)}))


#: Name, config file, requested profile, a part of botocore's own message.
PROBLEMS: list[tuple[str, str, str, str]] = [
    (
        "both sources",
        "[profile a]\nrole_arn=r\nsource_profile=b\ncredential_source=Environment\n",
        "a",
        'The profile "a" contains both source_profile and credential_source.',
    ),
    (
        "neither",
        "[profile a]\nrole_arn=r\naws_access_key_id=A\n",
        "a",
        "missing: source_profile or credential_source",
    ),
    (
        "no such source",
        "[profile a]\nrole_arn=r\nsource_profile=b\n",
        "a",
        'The source_profile "b" referenced in the profile "a" does not exist',
    ),
    ("itself", "[profile a]\nrole_arn=r\nsource_profile=a\n", "a", "Infinite loop"),
    (
        "a circle",
        "[profile a]\nrole_arn=r\nsource_profile=b\n[profile b]\nrole_arn=r\nsource_profile=a\n",
        "a",
        "Infinite loop",
    ),
    (
        "a circle back to a profile with keys",
        (
            "[profile a]\nrole_arn=r\nsource_profile=b\naws_access_key_id=A\n[profile b]\nrole_arn=r\n"
            "source_profile=a\n"
        ),
        "a",
        "Infinite loop",
    ),
    (
        "a source without credentials",
        "[profile a]\nrole_arn=r\nsource_profile=b\n[profile b]\nregion=x\n",
        "a",
        'The source profile "b" must have credentials',
    ),
    (
        "spelling",
        "[profile a]\nrole_arn=r\ncredential_source=environment\n",
        "a",
        '"environment" referenced in profile "a"',
    ),
    (
        "half SSO",
        "[profile a]\nsso_role_name=r\naws_access_key_id=A\n",
        "a",
        "sso_account_id, sso_start_url, sso_region",
    ),
    (
        "no SSO session",
        "[profile a]\nsso_role_name=r\nsso_account_id=1\nsso_session=s\n",
        "a",
        "does not exist",
    ),
    (
        "inconsistent SSO",
        (
            "[profile a]\nsso_role_name=r\nsso_account_id=1\nsso_session=s\nsso_region=us-west-2\n"
            "[sso-session s]\nsso_region=us-east-1\nsso_start_url=u\n"
        ),
        "a",
        "The value for sso_region is inconsistent between profile (us-west-2) and sso-session (us-east-1)",
    ),
    ("half a key", "[profile a]\naws_access_key_id=A\n", "a", "missing: aws_secret_access_key"),
]


@pytest.mark.parametrize(
    ("config", "name", "words"), [row[1:] for row in PROBLEMS], ids=[row[0] for row in PROBLEMS]
)
def test_a_problem_is_told_in_botocores_words(
    machine: tuple[Path, Path], config: str, name: str, words: str
) -> None:
    rows = write(machine, config)
    _, error = ask_botocore(name)
    assert words in str(error)
    assert words in (rows[name].problem or "")


def test_an_unpaired_key_is_partial_even_if_the_other_file_has_the_rest(machine: tuple[Path, Path]) -> None:
    rows = write(machine, "[default]\naws_secret_access_key=s\n", "[default]\naws_access_key_id=A\n")
    assert "shared-credentials-file, missing: aws_secret_access_key" in (rows["default"].problem or "")


def test_nested_blocks_where_a_text_belongs_are_a_problem_and_no_crash(machine: tuple[Path, Path]) -> None:
    block = "\n  a = b\n"
    for key in ("role_arn", "credential_process", "login_session", "web_identity_token_file"):
        rows = write(machine, f"[profile x]\n{key} ={block}role_session_name ={block}region ={block}")
        assert f"{key} is a nested block" in (rows["x"].problem or ""), key
    rows = write(machine, f"[profile x]\nrole_arn = r\nsource_profile ={block}mfa_serial ={block}")
    assert "is a nested block" in (rows["x"].problem or "")


def test_dependants_are_found_through_any_number_of_hops(machine: tuple[Path, Path]) -> None:
    role = "role_arn=r\nsource_profile="
    config = (
        f"[profile c]\n{role}b\n[profile b]\n{role}a\n[profile a]\naws_access_key_id=A\n"
        f"aws_secret_access_key=s\n"
        f"[profile other]\n{role}x\n[profile x]\ncredential_process=p\n[profile self]\n{role}self\n"
        f"aws_access_key_id=A\n"
        f"aws_secret_access_key=s\n[profile lost]\n{role}gone\n[profile unused]\nsource_profile=a\n"
    )
    write(machine, config)
    assert dependants(read_files(*machine)) == {"a": ("c", "b"), "b": ("c",), "x": ("other",)}


def test_what_a_chain_tells(machine: tuple[Path, Path]) -> None:
    role = "role_arn=arn:aws:iam::111122223333:role/x\nsource_profile="
    rows = write(
        machine,
        f"[profile c]\n{role}b\n[profile b]\nmfa_serial=m\n{role}a\n",
        "[a]\naws_access_key_id=AKIASP2TPHJSQH3FJRUX\naws_secret_access_key=s\n",
    )
    assert (rows["c"].chain, rows["c"].source, rows["c"].needs_person) == (("b", "a"), "a", True)
    assert (rows["c"].mfa_serial, rows["b"].mfa_serial) == (None, "m")
    assert (rows["a"].chain, rows["a"].source, rows["a"].needs_person) == ((), "a", False)
    assert (rows["c"].account, rows["c"].account_derived, rows["c"].key) == ("111122223333", False, None)
