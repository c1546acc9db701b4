"""The main job: adopt, refresh, deliver, release, with the real AWS CLI and boto3 as clients."""

from __future__ import annotations

import json

import pytest

from tests.end_to_end.person import PASSPHRASE, Person

ALICE = "arn:aws:iam::111122223333:user/alice"


def only_line(text: str) -> str:
    assert text.endswith("\n"), text
    assert text.count("\n") == 1, text
    return text


def test_an_adopted_iam_user_works_in_the_aws_cli_and_boto3_and_comes_back_byte_for_byte(
    person: Person,
) -> None:
    before = person.files()
    person.does("adopt", "ci-deploy", "--yes")
    assert b"aws_secret_access_key" not in person.credentials.read_bytes().split(b"[acme-alice]")[0]
    expected = "arn:aws:iam::444455556666:user/ci/ci-deploy"
    assert person.aws_identity("ci-deploy") == expected
    assert person.boto_identity("ci-deploy") == expected
    row = person.row("ci-deploy")
    assert row["managed"]
    assert row["state"] == "fresh"
    assert row["delivery"] == "credential-process"
    assert row["rotation"].pop("last_used") is not None
    assert row["rotation"] == {"state": "overdue", "age_days": 94, "limit_days": 90, "waits": None}
    assert row["key_id"].startswith("ASIA")
    person.releases("--all")
    assert person.files() == before


def test_dependants_come_along_and_an_external_id_reaches_sts(person: Person) -> None:
    before = person.files()
    person.does("adopt", "ci-deploy", "--yes")
    assert person.row("ci-audit")["managed"]
    assert person.row("ci-release")["managed"]
    for identity in (person.aws_identity, person.boto_identity):
        assert identity("ci-audit") == "arn:aws:sts::123412341234:assumed-role/Auditor/keyturn-ci-audit"
        assert identity("ci-release") == "arn:aws:sts::444455556666:assumed-role/ReleaseManager/ci-release"
    person.releases("--all")
    assert person.files() == before


@pytest.mark.campaign
def test_a_chain_of_three_hops(person: Person) -> None:
    before = person.files()
    person.does("adopt", "acme-build", "--yes")
    expected = "arn:aws:sts::123412341234:assumed-role/LogReader/keyturn-acme-spoke-logs"
    assert person.aws_identity("acme-spoke-logs") == expected
    assert person.boto_identity("acme-spoke-logs") == expected
    person.releases("--all")
    assert person.files() == before


def test_a_role_with_mfa_asks_for_a_person_takes_a_code_and_survives_a_wrong_one(person: Person) -> None:
    before = person.files()
    person.does("adopt", "acme-alice", "--yes")
    adopted = person.files()

    without = person.keyturn("credential-process", "prod-admin")
    assert without.returncode == 4
    assert without.stdout == ""
    assert "keyturn refresh prod-admin" in only_line(without.stderr)

    row = person.row("prod-admin")
    wrong = person.keyturn("refresh", "prod-admin", "--mfa-code", "000000")
    assert wrong.returncode == 1
    assert "MFA code" in only_line(wrong.stderr)
    assert wrong.stdout == ""
    assert person.files() == adopted
    assert person.row("prod-admin") == row

    code = person.sandbox.totp("alice")
    person.does("refresh", "prod-admin", "--mfa-code", code)
    expected = "arn:aws:sts::444455556666:assumed-role/Admin/keyturn-prod-admin"
    assert person.aws_identity("prod-admin") == expected
    assert person.boto_identity("prod-admin") == expected
    document = json.loads(person.does("credential-process", "prod-admin"))
    assert document["Version"] == 1
    assert document["AccountId"] == "444455556666"

    again = person.keyturn("refresh", "prod-admin", "--mfa-code", code)
    assert again.returncode == 1, "each code works once"
    assert person.aws_identity("prod-admin") == expected, "what was delivered stays"
    person.releases("--all")
    assert person.files() == before


@pytest.mark.campaign
def test_an_iam_user_with_mfa_gets_a_session_by_code(person: Person) -> None:
    before = person.files()
    person.does("adopt", "acme-alice", "--yes")
    needs = person.keyturn("refresh", "acme-alice")
    assert needs.returncode == 4
    person.sandbox.move_clock(60)
    person.does("refresh", "acme-alice", "--mfa-code", person.sandbox.totp("alice"))
    assert person.aws_identity("acme-alice") == ALICE
    person.releases("--all")
    assert person.files() == before


@pytest.mark.campaign
def test_one_code_for_two_profiles_of_one_verb_is_sent_once(person: Person) -> None:
    person.does("adopt", "acme-alice", "--yes")
    person.sandbox.move_clock(60)
    before = len(person.sandbox.calls)
    code = person.sandbox.totp("alice")
    done = person.keyturn("refresh", "prod-admin", "acme-alice", "--mfa-code", code)
    output = done.stdout + done.stderr
    calls = [call for call in person.sandbox.calls[before:] if call.action == "GetSessionToken"]
    assert len(calls) == 1, output
    assert not calls[0].error
    assert done.returncode == 4, "the user's own session takes a code of its own, and is asked for it"
    assert "refused the MFA code" not in output
    person.releases("--all")


def test_the_credentials_file_takes_a_session_also_under_another_name(person: Person) -> None:
    before = person.files()
    person.does("adopt", "ci-deploy", "--yes")
    person.does("deliver", "ci-release", "--to", "credentials-file")
    expected = "arn:aws:sts::444455556666:assumed-role/ReleaseManager/ci-release"
    section = person.credentials.read_text().split("[ci-release]")[1]
    assert "aws_session_token" in section
    assert "aws_expiration" in section
    assert person.aws_identity("ci-release") == expected
    assert person.boto_identity("ci-release") == expected
    assert person.row("ci-release")["delivery"] == "credentials-file"

    person.does("deliver", "ci-audit", "--to", "credentials-file", "--as", "tooling")
    auditor = "arn:aws:sts::123412341234:assumed-role/Auditor/keyturn-ci-audit"
    assert person.aws_identity("tooling") == auditor
    assert person.aws_identity("ci-audit") == auditor, "its own name still works"

    assert "withdrawn" in person.does("stop", "ci-release")
    assert "[ci-release]" not in person.credentials.read_text()
    person.releases("--all")
    assert person.files() == before


def test_what_was_delivered_into_the_file_is_withdrawn_once_it_has_expired(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    adopted = newcomer.files()
    newcomer.does("deliver", "ci-release", "--to", "credentials-file", "--as", "legacy-tool")
    assert "[legacy-tool]" in newcomer.credentials.read_text()
    newcomer.sandbox.move_clock(3601)
    newcomer.does("list")
    assert newcomer.files() == adopted


@pytest.mark.campaign
def test_a_section_that_somebody_else_filled_is_not_overwritten(person: Person) -> None:
    person.does("adopt", "ci-deploy", "--yes")
    before = person.files()
    refused = person.keyturn("deliver", "ci-release", "--to", "credentials-file", "--as", "personal")
    assert refused.returncode == 5
    assert "keyturn did not write" in only_line(refused.stderr)
    assert person.files() == before
    person.releases("--all")


@pytest.mark.campaign
def test_with_the_vault_locked_the_list_still_shows_kinds_ids_expiries_and_ages(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    newcomer.does("refresh", "ci-deploy")
    open_row = newcomer.row("ci-deploy")
    newcomer.does("vault", "lock")
    assert json.loads(newcomer.does("vault", "status", "--json"))["state"] == "locked"
    row = newcomer.row("ci-deploy")
    assert row == open_row
    assert row["kind"] == "iam-key"
    assert row["expires"]
    assert row["key_id"].startswith("ASIA")
    assert row["rotation"]["age_days"] == 94

    locked = newcomer.keyturn("credential-process", "ci-deploy")
    assert locked.returncode == 4
    assert locked.stdout == ""
    assert "keyturn vault unlock" in only_line(locked.stderr)

    newcomer.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    assert newcomer.aws_identity("ci-deploy").endswith("user/ci/ci-deploy")


def test_release_of_a_secret_takes_the_passphrase(person: Person) -> None:
    person.does("adopt", "personal", "--yes")
    adopted = person.files()
    without = person.keyturn("release", "personal", "--yes")
    assert without.returncode == 4
    wrong = person.keyturn("release", "personal", "--yes", fds={"--passphrase-fd": "not it"})
    assert wrong.returncode != 0
    assert person.files() == adopted
    person.releases("personal")


@pytest.mark.campaign
def test_verbs_say_what_there_is_nothing_to_do_for(person: Person) -> None:
    for words, code, message in (
        (("refresh", "nobody"), 3, "Profile not found: nobody"),
        (("refresh", "ci-deploy"), 1, "keyturn adopt ci-deploy"),
        (("refresh", "contractor"), 1, "another tool"),
        (("refresh", "old-cluster"), 1, "tom"),
        (("adopt", "contractor", "--yes"), 1, "temporary"),
        (("release", "ci-deploy", "--yes"), 3, "keyturn adopt ci-deploy"),
        (("credential-process", "ci-deploy"), 3, "keyturn adopt ci-deploy"),
        (("show", "nobody"), 3, "keyturn list"),
        (("adopt", "ci-deploy"), 4, "--yes"),
        (("frobnicate",), 2, "frobnicate"),
        (("adopt",), 2, "--all"),
    ):
        done = person.keyturn(*words)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        last = done.stderr.splitlines()[-1]
        assert last.startswith("keyturn: "), done.stderr
        assert message in last, (words, done.stderr)
