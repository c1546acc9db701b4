"""The `credential_process` line that adopt and deliver write: each AWS SDK can run it, or is named."""

from __future__ import annotations

import json
import re

import pytest

from tests.end_to_end.person import BIN, Person

ROLE = "arn:aws:iam::444455556666:role/ReleaseManager"
OLDER_GO = "the SDK for Go (v1, and v2 before config 1.24) cannot run it"


def add_role(person: Person, header: str) -> None:
    """Append a native role to the config file."""
    with person.config.open("a") as config:
        config.write(f"\n[{header}]\nrole_arn = {ROLE}\nsource_profile = ci-deploy\n")


def line_of(person: Person, name: str) -> str:
    """Return the `credential_process` value that calls keyturn for a profile."""
    lines: list[str] = re.findall(r"^credential_process = (.*)$", person.config.read_text(), re.MULTILINE)
    found = [line for line in lines if line.endswith((f" {name}", f' "{name}"'))]
    assert len(found) == 1, (name, lines)
    return found[0]


def test_program_and_name_have_quotes_only_where_they_need_them(newcomer: Person) -> None:
    newcomer.makes_vault()
    for header in ("profile café", 'profile "two words"', "profile ,comma"):
        add_role(newcomer, header)
    newcomer.does("adopt", "ci-deploy", "café", "two words", ",comma", "--yes")
    ends = {"ci-deploy": "ci-deploy", "café": "café", "two words": '"two words"', ",comma": '",comma"'}
    for name, end in ends.items():
        line = line_of(newcomer, name)
        assert not line.startswith(('"', "'")), line
        assert re.fullmatch(rf"/.*keyturn credential-process {re.escape(end)}", line), line
    code = "import boto3; print(boto3.Session(profile_name='café').get_credentials().access_key)"
    for name in ("café", "two words"):
        done = newcomer.run(str(BIN / "python"), "-c", code.replace("café", name))
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("ASIA")


@pytest.mark.parametrize(
    ("header", "name", "told"),
    [
        ("profile café", "café", "SDKs for C++, Java, JavaScript and Rust do not find a profile with é"),
        ('profile "two words"', "two words", "the SDKs for C++, Go, Java, JavaScript, PHP, Ruby and Rust"),
    ],
)
def test_a_name_that_some_sdk_does_not_find_is_told_of(
    newcomer: Person, header: str, name: str, told: str
) -> None:
    newcomer.makes_vault()
    add_role(newcomer, header)
    review = newcomer.keyturn("adopt", name, "ci-deploy", "--plan")
    assert f"{name}: " in review.stdout + review.stderr
    assert told in review.stdout + review.stderr
    newcomer.does("adopt", name, "ci-deploy", "--yes")
    assert told in newcomer.does("show", name)
    assert told in newcomer.does("deliver", name, "--to", "credential-process")
    assert told not in newcomer.does("deliver", name, "--to", "nowhere")
    assert told not in newcomer.does("show", "ci-deploy")
    assert told not in newcomer.does("deliver", "ci-deploy", "--to", "credential-process")


def test_a_line_of_an_earlier_release_is_told_of_and_written_anew_on_request(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    text = newcomer.config.read_text()
    line = line_of(newcomer, "ci-deploy")
    program = line.removesuffix(" credential-process ci-deploy").replace('"', "")
    old = f'"{program}" credential-process ci-deploy'
    newcomer.config.write_text(text.replace(line, old))
    before = newcomer.files()

    warnings = json.loads(newcomer.does("list", "--json"))["warnings"]
    (warning,) = [found for found in warnings if found["profile"] == "ci-deploy"]
    assert warning["line"] == before[0].decode().splitlines().index(f"credential_process = {old}") + 1  # type: ignore[union-attr]  # the file exists
    command = "keyturn deliver ci-deploy --to credential-process"
    assert OLDER_GO in warning["reason"]
    assert warning["reason"].endswith(command)
    assert OLDER_GO in newcomer.does("show", "ci-deploy")
    assert newcomer.row("ci-deploy")["problem"] is None, "it is still keyturn's line"
    newcomer.does("refresh", "ci-deploy")
    assert newcomer.files() == before, "nothing rewrites it unasked"

    newcomer.does(*command.split()[1:])
    assert newcomer.config.read_text() == text
    assert json.loads(newcomer.does("show", "ci-deploy", "--json"))["warnings"] == []


def test_a_line_of_an_earlier_release_is_given_back_by_release(newcomer: Person) -> None:
    before = newcomer.files()
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    line = line_of(newcomer, "ci-deploy")
    program = line.removesuffix(" credential-process ci-deploy").replace('"', "")
    text = newcomer.config.read_text()
    newcomer.config.write_text(text.replace(line, f'"{program}" credential-process ci-deploy'))
    newcomer.releases("ci-deploy", "--with-dependents")
    assert newcomer.files() == before
