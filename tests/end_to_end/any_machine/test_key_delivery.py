"""Who gets the long-term key itself: nobody, unless the user confirmed it with the vault open."""

from __future__ import annotations

import json
from pathlib import Path

from tests.end_to_end.person import PASSPHRASE, Person


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


def test_a_line_in_profiles_toml_alone_gives_sessions_and_a_warning(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    forge_session_none(newcomer, "ci-deploy")
    assert handed_out(newcomer, "ci-deploy").startswith("ASIA")
    shown = newcomer.does("exec", "ci-deploy", "--", "/usr/bin/env")
    assert "AWS_ACCESS_KEY_ID=ASIA" in shown
    listed = newcomer.keyturn("list")
    assert "keyturn set ci-deploy session=none" in listed.stderr
    assert "is not confirmed" in newcomer.does("show", "ci-deploy")


def test_a_confirmed_set_hands_out_the_key_and_temporary_ends_it(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    newcomer.does("set", "ci-deploy", "session=none", "--yes")
    assert handed_out(newcomer, "ci-deploy").startswith("AKIA")
    newcomer.does("set", "ci-deploy", "session=temporary")
    forge_session_none(newcomer, "ci-deploy")
    assert handed_out(newcomer, "ci-deploy").startswith("ASIA"), "the consent went with the setting"


def test_a_set_to_temporary_while_locked_ends_the_consent_at_the_next_unlock(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    newcomer.does("set", "ci-deploy", "session=none", "--yes")
    newcomer.does("vault", "lock")
    newcomer.does("set", "ci-deploy", "session=temporary")
    newcomer.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    forge_session_none(newcomer, "ci-deploy")
    assert handed_out(newcomer, "ci-deploy").startswith("ASIA")


def test_the_consent_is_for_one_key(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    newcomer.does("adopt", "personal", "--session-none", "--yes")
    assert handed_out(newcomer, "personal").startswith("AKIA")
    path = definitions(newcomer)
    path.write_text(path.read_text().replace('key = "personal"', 'key = "ci-deploy"'))
    assert handed_out(newcomer, "personal").startswith("ASIA")


def test_set_asks_for_the_vault_and_without_it_changes_nothing(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    newcomer.does("vault", "lock")
    before = definitions(newcomer).read_bytes()
    done = newcomer.keyturn("set", "ci-deploy", "session=none", "--yes")
    assert done.returncode == 4, done.stderr
    assert "keyturn vault unlock" in done.stderr
    assert definitions(newcomer).read_bytes() == before
    newcomer.does("set", "ci-deploy", "session=none", "--yes", fds={"--passphrase-fd": PASSPHRASE})
    assert handed_out(newcomer, "ci-deploy").startswith("AKIA")


def test_a_set_that_is_refused_leaves_no_consent(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    refused = newcomer.keyturn("set", "ci-deploy", "session=none", "external_id=abc", "--yes")
    assert refused.returncode == 2, refused.stderr
    assert "RISK" not in refused.stderr
    forge_session_none(newcomer, "ci-deploy")
    assert handed_out(newcomer, "ci-deploy").startswith("ASIA")


def test_a_line_that_comes_back_asks_again(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    newcomer.does("set", "ci-deploy", "session=none", "--yes")
    backup = definitions(newcomer).read_text()
    definitions(newcomer).write_text(backup.replace('session = "none"\n', ""))
    assert handed_out(newcomer, "ci-deploy").startswith("ASIA")
    definitions(newcomer).write_text(backup)
    assert handed_out(newcomer, "ci-deploy").startswith("ASIA")


def test_a_backup_restored_before_the_unlock_asks_again(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    newcomer.does("set", "ci-deploy", "session=none", "--yes")
    backup = definitions(newcomer).read_text()
    newcomer.does("vault", "lock")
    newcomer.does("set", "ci-deploy", "session=temporary")
    definitions(newcomer).write_text(backup)
    newcomer.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    assert handed_out(newcomer, "ci-deploy").startswith("ASIA")
    newcomer.does("deliver", "ci-deploy", "--to", "credentials-file")
