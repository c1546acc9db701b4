"""Nobody gets the long-term key itself, unless the user confirmed it with the vault open."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.person import PASSPHRASE, Person


@pytest.fixture
def adopted(newcomer: Person) -> Person:
    """A user who manages `ci-deploy`, with an open vault."""
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    return newcomer


def definitions(person: Person) -> Path:
    return Path(person.environ["KEYTURN_HOME"]) / "config" / "profiles.toml"


def forge_session_none(person: Person, name: str) -> None:
    """Write `session = "none"` into `profiles.toml`, as anybody with the user's rights could."""
    path = definitions(person)
    path.write_text(
        path.read_text().replace(f"[profiles.{name}]\n", f'[profiles.{name}]\nsession = "none"\n')
    )


def handed_out(person: Person, name: str) -> str:
    """Return the access key id that a client gets."""
    return str(json.loads(person.does("credential-process", name))["AccessKeyId"])


def test_a_line_in_profiles_toml_alone_gives_sessions_and_a_warning(adopted: Person) -> None:
    forge_session_none(adopted, "ci-deploy")
    assert handed_out(adopted, "ci-deploy").startswith("ASIA")
    shown = adopted.does("exec", "ci-deploy", "--", "/usr/bin/env")
    assert "AWS_ACCESS_KEY_ID=ASIA" in shown
    listed = adopted.keyturn("list")
    assert "keyturn set ci-deploy session=none" in listed.stderr
    assert "is not confirmed" in adopted.does("show", "ci-deploy")


def test_a_confirmed_set_hands_out_the_key_and_temporary_ends_it(adopted: Person) -> None:
    adopted.does("set", "ci-deploy", "session=none", "--yes")
    assert handed_out(adopted, "ci-deploy").startswith("AKIA")
    adopted.does("set", "ci-deploy", "session=temporary")
    forge_session_none(adopted, "ci-deploy")
    assert handed_out(adopted, "ci-deploy").startswith("ASIA"), "the consent went with the setting"


def test_a_set_to_temporary_while_locked_ends_the_consent_at_the_next_unlock(adopted: Person) -> None:
    adopted.does("set", "ci-deploy", "session=none", "--yes")
    adopted.does("vault", "lock")
    adopted.does("set", "ci-deploy", "session=temporary")
    adopted.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    forge_session_none(adopted, "ci-deploy")
    assert handed_out(adopted, "ci-deploy").startswith("ASIA")


def test_the_consent_is_for_one_key(adopted: Person) -> None:
    adopted.does("adopt", "personal", "--session-none", "--yes")
    assert handed_out(adopted, "personal").startswith("AKIA")
    path = definitions(adopted)
    path.write_text(path.read_text().replace('key = "personal"', 'key = "ci-deploy"'))
    assert handed_out(adopted, "personal").startswith("ASIA")


def test_set_asks_for_the_vault_and_without_it_changes_nothing(adopted: Person) -> None:
    adopted.does("vault", "lock")
    before = definitions(adopted).read_bytes()
    done = adopted.keyturn("set", "ci-deploy", "session=none", "--yes")
    assert done.returncode == 4, done.stderr
    assert "keyturn vault unlock" in done.stderr
    assert definitions(adopted).read_bytes() == before
    adopted.does("set", "ci-deploy", "session=none", "--yes", fds={"--passphrase-fd": PASSPHRASE})
    assert handed_out(adopted, "ci-deploy").startswith("AKIA")


def test_a_set_that_is_refused_leaves_no_consent(adopted: Person) -> None:
    refused = adopted.keyturn("set", "ci-deploy", "session=none", "external_id=abc", "--yes")
    assert refused.returncode == 2, refused.stderr
    assert "does not expire" not in refused.stderr, "it is refused before the risk is told"
    forge_session_none(adopted, "ci-deploy")
    assert handed_out(adopted, "ci-deploy").startswith("ASIA")


@pytest.mark.parametrize(
    "seen",
    [("credential-process", "ci-deploy"), ("set", "ci-deploy", "session=temporary")],
    ids=["used", "set"],
)
def test_a_line_that_comes_back_asks_again(adopted: Person, seen: tuple[str, ...]) -> None:
    adopted.does("set", "ci-deploy", "session=none", "--yes")
    backup = definitions(adopted).read_text()
    definitions(adopted).write_text(backup.replace('session = "none"\n', ""))
    adopted.does(*seen)
    definitions(adopted).write_text(backup)
    assert handed_out(adopted, "ci-deploy").startswith("ASIA")


def test_a_backup_restored_before_the_unlock_asks_again(adopted: Person) -> None:
    adopted.does("set", "ci-deploy", "session=none", "--yes")
    backup = definitions(adopted).read_text()
    adopted.does("vault", "lock")
    adopted.does("set", "ci-deploy", "session=temporary")
    definitions(adopted).write_text(backup)
    adopted.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    assert handed_out(adopted, "ci-deploy").startswith("ASIA")
    adopted.does("deliver", "ci-deploy", "--to", "credentials-file")
