"""A user at a shell: settings, the key itself, and several MFA devices, with the real AWS CLI as client."""

from __future__ import annotations

import json

import pytest

from tests.end_to_end.person import BIN, Person


def one_line(text: str) -> str:
    assert text.endswith("\n"), text
    assert text.count("\n") == 1, text
    return text


@pytest.mark.campaign
def test_the_key_itself_for_iam_without_mfa_and_back_again(person: Person) -> None:
    before = person.files()
    person.does("adopt", "ci-deploy", "--yes")
    listing = (str(BIN / "aws"), "iam", "list-access-keys", "--profile", "ci-deploy", "--output", "json")
    refused = person.run(*listing)
    assert refused.returncode != 0, "a session without MFA cannot call IAM"

    done = person.keyturn("set", "ci-deploy", "session=none")
    assert done.returncode == 4
    assert "delivers the long-term key itself to every client" in done.stderr
    assert "Use --yes" in done.stderr
    assert person.row("ci-deploy")["state"] == "fresh"

    person.does("set", "ci-deploy", "session=none", "--yes")
    document = json.loads(person.does("credential-process", "ci-deploy"))
    assert set(document) == {"Version", "AccessKeyId", "SecretAccessKey", "AccountId"}
    row = person.row("ci-deploy")
    assert (row["state"], row["key_id"]) == ("long-term", document["AccessKeyId"])
    assert "A risk" in person.does("show", "ci-deploy")
    keys = person.run(*listing)
    assert json.loads(keys.stdout)["AccessKeyMetadata"][0]["AccessKeyId"] == document["AccessKeyId"]

    person.does("set", "ci-deploy", "session=temporary")
    assert "SessionToken" in json.loads(person.does("credential-process", "ci-deploy"))
    assert person.row("ci-deploy")["state"] == "fresh"
    person.releases("--all")
    assert person.files() == before


@pytest.mark.campaign
@pytest.mark.timeout(300)
def test_settings_in_json_in_words_and_refused_on_one_line(person: Person) -> None:
    before = person.files()
    person.does("adopt", "acme-build", "--yes")
    done = json.loads(person.does("set", "acme-hub", "duration=30m", "external_id=acme:1", "--json"))
    assert done["version"] == 1
    assert done["changed"] == ["duration_seconds", "external_id"]
    assert done["settings"]["duration_seconds"] == 1800
    assert "Ext. id     acme:1" in person.does("show", "acme-hub")
    assert "external_id       acme:1" in person.does("set", "acme-hub")
    person.aws_identity("acme-hub")
    gone = json.loads(person.does("set", "acme-hub", "external_id=", "duration=", "--json"))
    assert gone["settings"]["external_id"] is gone["settings"]["duration_seconds"] is None
    assert gone["ended"] == ["acme-hub"]
    for words, code in (
        (("acme-hub", "tags=a"), 2),
        (("acme-hub", "colour=red"), 2),
        (("acme-hub", "policy=/no/such/file"), 1),
        (("acme-hub", "session=none", "--yes"), 2),
        (("nobody", "renew=off"), 3),
        (("console-jo", "renew=off"), 3),
    ):
        refused = person.keyturn("set", *words)
        assert refused.returncode == code, (words, refused.stderr)
        assert refused.stdout == ""
        assert one_line(refused.stderr.replace(RISK, "")).startswith("keyturn: ")
    person.releases("--all")
    assert person.files() == before


RISK = (
    "keyturn: session=none delivers the long-term key itself to every client: it does not expire, and any "
    "client that "
    "gets it can keep it.\n"
)


@pytest.mark.campaign
@pytest.mark.timeout(300)
def test_of_several_mfa_devices_a_person_names_one(person: Person) -> None:
    before = person.files()
    alice = person.sandbox.state.user("aws", "111122223333", "alice")
    assert alice is not None
    second = person.sandbox.add_device(alice, "alice-phone")
    person.does("adopt", "acme-alice", "--yes")
    done = person.keyturn("set", "acme-alice", "mfa_serial=choose")
    assert done.returncode == 4
    assert "IAM lists 2: arn:aws:iam::111122223333:mfa/alice, " in one_line(done.stderr)
    person.does("set", "acme-alice", f"mfa_serial={second.serial}")
    person.does("refresh", "acme-alice", "--mfa-code", person.sandbox.totp("alice-phone"))
    assert person.aws_identity("acme-alice") == "arn:aws:iam::111122223333:user/alice"
    person.releases("--all")
    assert person.files() == before
