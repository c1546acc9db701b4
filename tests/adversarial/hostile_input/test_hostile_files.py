"""Any text in any file that keyturn reads is shown literally or reported as a fault in one line, never
obeyed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tomli_w
from botocore import configloader
from botocore.exceptions import BotoCoreError

from tests.adversarial.hostile_input.corpus import MESSAGES, NAMES, as_argument, as_folder, as_text, spread
from tests.adversarial.hostile_input.verbs import VerbRunner

KEYS = (
    "aws_access_key_id = AKIAQQQQQQQQQQQQQQQQ\naws_secret_access_key = "
    "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00\n"
)
ROLE = "role_arn = arn:aws:iam::123456789012:role/Deploy\nsource_profile = ci\n"
CI = f"[ci]\n{KEYS}"
#: Config and credentials file around a text, one place at a time, because one bad place makes a whole file
#: unreadable.
PLACES: tuple[tuple[str, str], ...] = (
    ("[profile {0}]\nregion = eu-west-1\n" + ROLE, CI),
    ("[{0}]\nregion = x\n", CI),
    (
        (
            "# {0}\n; {0}\n[profile ci]\nregion = {0}\nnote = {0}\nmfa_serial = {0}\nendpoint_url = {0}\n"
            "output = {0}\ns3 =\n  x = {0}\n"
        ),
        CI,
    ),
    (
        (
            "[profile role]\nrole_arn = {0}\nsource_profile = {0}\nexternal_id = {0}\nduration_seconds = "
            "{0}\nrole_session_name = {0}\n"
        ),
        CI,
    ),
    (
        (
            "[profile role]\nrole_arn = {0}\nsource_profile = ci\nmfa_serial = {0}\nduration_seconds = "
            "{0}\nrole_session_name = {0}\n"
        ),
        CI,
    ),
    ("[profile ci]\n{0} = x\n", CI),
    ("[profile ci]\nx = y\n{0}\n", CI),
    (
        (
            "[profile sso]\nsso_session = {0}\nsso_account_id = {0}\nsso_role_name = {0}\n[sso-session "
            "{0}]\nsso_start_url = {0}\nsso_region = {0}\n"
        ),
        CI,
    ),
    (
        (
            "[profile tool]\ncredential_process = {0}\n[profile web]\nrole_arn = {0}\n"
            "web_identity_token_file = {0}\n[profile log]\nlogin_session = {0}\n"
        ),
        CI,
    ),
    ("", "[{0}]\n" + KEYS),
    (
        "",
        (
            "[ci]\naws_access_key_id = {0}\naws_secret_access_key = {0}\naws_session_token = "
            "{0}\naws_expiration = {0}\nexpiration = {0}\n"
        ),
    ),
    ("{0}", "{0}"),
)


def files(machine: VerbRunner, texts: tuple[str, ...], record: Callable[[str, object], None]) -> None:
    """Put each of `texts` in every place of the shared files and run the verbs that show or plan."""
    with machine:
        for nth, text in enumerate(texts):
            for place, (config, credentials) in enumerate(PLACES):
                machine.config.write_text(config.replace("{0}", text), newline="")
                machine.credentials.write_text(credentials.replace("{0}", text), newline="")
                before = machine.config.read_bytes(), machine.credentials.read_bytes()
                found = machine.call_checked("list", "--json").json["profiles"]
                machine.check(
                    wrong={row["name"] for row in found} - {"default"} != _names(machine) - {"default"},
                    what=(
                        f"{text[:50]!a}: other profiles than botocore's: "
                        f"{[row['name'][:60] for row in found]}"
                    ),
                )
                for name in spread(tuple(as_argument(tuple(row["name"] for row in found))), 1):
                    match (nth + place) % 4:
                        case 0:
                            machine.call_checked("list")
                        case 1:
                            machine.call_checked("show", "--", name)
                        case 2:
                            same = machine.call_checked("show", "--json", "--", name).json["profile"]
                            machine.check(
                                wrong=same["name"] != name, what=f"{name!a} came back as another name"
                            )
                        case _:
                            machine.call_checked("adopt", "--plan", "--", name, plan=True)
                machine.check(
                    wrong=(machine.config.read_bytes(), machine.credentials.read_bytes()) != before,
                    what=f"{text[:50]!a}: a shared file changed",
                )
    machine.assert_harmless(record, len(texts))


def _names(machine: VerbRunner) -> set[str]:
    """Return the profiles that botocore finds; none if it refuses the file."""
    found: set[str] = set()
    for path, build in ((machine.config, True), (machine.credentials, False)):
        try:
            parsed = configloader.raw_config_parse(str(path))
        except (BotoCoreError, ValueError):
            continue
        found |= set(configloader.build_profile_map(parsed)["profiles"] if build else parsed)
    return found


#: Values that a faulty program may leave in a JSON document in place of a text.
ODD = ("5", "null", "[]", "{}", "true", "1e999", "-1e999", "NaN", "9" * 5000, "[" * 3000,
    '"0001-01-01T00:00:00Z"', '"9999-12-31T23:59:59-23:59"', '"\\ud800"')  # fmt: skip


def _indexes(value: str) -> Iterator[str]:
    """Yield `index.json` with one JSON value everywhere, then in one place at a time."""
    session = '{{"key_id": {0}, "issued": {1}, "expires": {2}, "arn": {3}}}'
    put = (
        '{{"path": {0}, "section": {1}, "key_ids": [{2}], "expires": "2020-01-01T00:00:00Z", "made": '
        'true, "region": {3}}}'
    )
    fine = '"2026-01-01T00:00:00Z"'
    known = (
        f'"session": {session.format(value, fine, fine, value)}',
        f'"delivered": {put.format(value, value, value, value)}',
        f'"failure": {{"at": {fine}, "line": {value}}}',
        f'"session": {session.format(fine, value, fine, fine)}',
        f'"session": {session.format(fine, fine, value, fine)}',
        f'"session": {value}',
        f'"delivered": {value}',
        f'"failure": {value}, "asked": {value}, "stopped": {value}',
        f'"accepted_seconds": {value}',
    )
    key = f'{{"key_id": {value}, "user": {value}, "status": {value}, "created": {fine}, "slots_used": 1}}'
    head = '{"version": 1, "profiles": '
    yield f'{head}{{"ci": {{{", ".join(known[:3])}}}}}, "keys": {{"managed": {key}}}}}'
    if value not in ODD:
        return
    for each in known:
        yield f'{head}{{"ci": {{{each}}}, "managed": {{{each}}}}}, "keys": {{"managed": {key}}}}}'
    yield (
        f'{head}{{}}, "keys": '
        f'{{"managed": {{"key_id": {fine}, "slots_used": {value}, "last_used": {value}}}}}}}'
    )
    yield f'{{"version": {value}, "profiles": {value}, "keys": {value}, "vault_generation": {value}}}'
    yield value


def _definitions(text: str) -> Iterator[str]:
    """Yield `profiles.toml` with a text in every field, as a name, and as the whole file."""
    fields = (
        "key",
        "role_arn",
        "source_profile",
        "external_id",
        "mfa_serial",
        "role_session_name",
        "deliver_as",
    )
    one = {"kind": "role", "delivery": "credentials-file", **dict.fromkeys(fields, text), "x": text}
    key = {"kind": "iam-key", "key": text, "mfa_serial": text, "delivery": "credential-process"}
    for profiles in ({"managed": one}, {text: key, "managed": {**one, "source_profile": "ci", "key": "ci"}}):
        yield tomli_w.dumps({"version": 1, "profiles": profiles})
    if text in ODD:
        for field in ("kind", "session", "renew", "rotation_days", "delivery", "duration_seconds"):
            yield tomli_w.dumps({"version": 1, "profiles": {"managed": {**key, field: text}}})
    yield f"version = 1\n[profiles.managed]\nkind = 'iam-key'\nduration_seconds = {text}\n"
    yield text


def own_files(machine: VerbRunner, texts: tuple[str, ...], record: Callable[[str, object], None]) -> None:
    """Put each of `texts` in keyturn's own files and run the verbs that read them."""
    machine.config.write_text("[profile managed]\nregion = eu-west-1\n")
    machine.credentials.write_text(CI)
    index, definitions = machine.own / "state" / "index.json", machine.own / "config" / "profiles.toml"
    index.parent.mkdir(parents=True)
    definitions.parent.mkdir(parents=True)
    plain = next(_definitions("x"))

    def run_verbs(*verbs: tuple[str, ...]) -> None:
        for words in (*verbs, ("list",)):
            machine.call_checked(*words)

    with machine:
        for text in texts:
            definitions.write_text(plain)
            values = [json.dumps(text)] if text not in ODD else [text]
            for value in values:
                for content in _indexes(value):
                    index.write_text(content)
                    run_verbs(("show", "managed"), ("show", "ci", "--json"))
            (index.parent / "activity.jsonl").write_text(text, "utf-8", "surrogatepass")
            machine.call_checked("stop", "managed")
            if text in as_text((text,)):
                for nth, content in enumerate(_definitions(text)):
                    definitions.write_text(content)
                    run_verbs(
                        (
                            ("refresh", "managed"),
                            ("deliver", "managed", "--to", "nowhere"),
                            ("list", "--json"),
                        )[nth % 3]
                    )
    machine.assert_harmless(record, len(texts))


def caches(machine: VerbRunner, texts: tuple[str, ...], record: Callable[[str, object], None]) -> None:
    """Put each of `texts` in the caches of AWS's own tools."""
    machine.config.write_text(
        "[profile sso]\nsso_session = x\nsso_account_id = 123456789012\nsso_role_name = r\n"
        "[sso-session x]\nsso_start_url = https://x.example\nsso_region = us-east-1\n"
        "[profile log]\nlogin_session = x\n[profile role]\n" + ROLE
    )
    machine.credentials.write_text(CI)
    role = json.dumps({"RoleArn": "arn:aws:iam::123456789012:role/Deploy"}, sort_keys=True)
    sso = json.dumps(
        {"accountId": "123456789012", "roleName": "r", "sessionName": "x"}, separators=(",", ":")
    )
    aws = machine.home / ".aws"
    places = (
        aws / "sso" / "cache" / f"{hashlib.sha1(b'x').hexdigest()}.json",  # noqa: S324  # the name that AWS's tools give
        aws / "cli" / "cache" / f"{hashlib.sha1(sso.encode()).hexdigest()}.json",  # noqa: S324  # the same
        aws / "cli" / "cache" / f"{hashlib.sha1(role.encode()).hexdigest()}.json",  # noqa: S324  # the same
        aws / "login" / "cache" / f"{hashlib.sha256(b'x').hexdigest()}.json",
    )
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
    with machine:
        for text in texts:
            value = text if text in ODD else json.dumps(text)
            fine = '"2036-01-01T00:00:00Z"'
            for key_id, end in ((value, fine), *([(value, value), (fine, value)] if text in ODD else [])):
                content = (
                    f'{{"accessToken": {{"accessKeyId": {key_id}, "expiresAt": {end}}}, "expiresAt": {end}, '
                    f'"Credentials": {{"AccessKeyId": {key_id}, "Expiration": {end}}}}}'
                )
                for place in places:
                    place.write_text(content)
                for words in (
                    ("list",),
                    ("list", "--json"),
                    ("show", "sso"),
                    ("show", "log"),
                    ("show", "role"),
                ):
                    machine.call_checked(*words)
            for place in places:
                place.write_text(text, "utf-8", "surrogatepass")
            machine.call_checked("list")
    machine.assert_harmless(record, len(texts))


def folders(machine: VerbRunner, texts: tuple[str, ...], record: Callable[[str, object], None]) -> None:
    """Put files that AWS tools refuse, and files that cannot be written, in folders named like each of
    `texts`."""
    with machine:
        for text in texts:
            folder = machine.home / "folders" / text / "x"
            folder.mkdir(parents=True)
            config, credentials = folder / "config", folder / "credentials"
            config.write_text("x\n")
            credentials.write_text(CI)
            environ = {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(credentials)}
            for words in (("list",), ("show", "ci", "--json")):
                machine.call_checked(*words, environ=environ)
            machine.call_checked("adopt", "--all", "--plan", environ=environ, plan=True)
            own = {"KEYTURN_HOME": str(folder), "HOME": str(folder)}
            machine.call_checked("vault", "status", "--json", environ=own)
            machine.call_checked("vault", "export", "--yes", "--", str(config))
    machine.assert_harmless(record, len(texts))


RUNS = {
    "files": (files, tuple(as_text(NAMES)), 3),
    "own-files": (own_files, (*ODD, *MESSAGES), 4),
    "caches": (caches, (*ODD, *NAMES), 6),
    "folders": (folders, tuple(as_folder(NAMES)), 7),
}


@pytest.mark.parametrize("run", RUNS)
def test_a_text_in_a_file_that_is_read(
    run: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    run_verbs, texts, number = RUNS[run]
    run_verbs(VerbRunner(tmp_path / "machine"), spread(texts, number), record_property)


@pytest.mark.campaign
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("run", RUNS)
def test_every_text_in_every_file_that_is_read(
    run: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    run_verbs, texts, _ = RUNS[run]
    run_verbs(VerbRunner(tmp_path / "machine"), texts, record_property)
