"""Files that AWS tools refuse, and files that change during use: they are not written to, everything else
works."""

from __future__ import annotations

import pytest

from tests.end_to_end.person import BIN, Person

BROKEN = b"[profile one]\nregion = eu-west-1\n[profile one]\nregion = us-east-1\n"


def test_an_unparsable_config_file_is_named_and_left_alone_and_the_rest_works(newcomer: Person) -> None:
    newcomer.config.write_bytes(BROKEN)
    credentials = newcomer.credentials.read_bytes()
    listed = newcomer.keyturn("list")
    assert listed.returncode == 0
    assert "personal" in listed.stdout
    (line,) = listed.stderr.splitlines()
    assert "config" in line
    assert "line 3" in line

    newcomer.makes_vault()
    newcomer.does("adopt", "personal", "--yes")
    assert newcomer.config.read_bytes() == BROKEN
    section = newcomer.credentials.read_text().split("[personal]")[1].split("[")[0]
    assert "credential_process" in section
    assert "secret" not in section
    newcomer.does("refresh", "personal")
    assert newcomer.row("personal")["state"] == "fresh"
    newcomer.releases("personal")
    assert newcomer.credentials.read_bytes() == credentials
    assert newcomer.config.read_bytes() == BROKEN


def test_an_unparsable_credentials_file_is_never_written_to(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    broken = newcomer.credentials.read_bytes() + b"no delimiter\n"
    newcomer.credentials.write_bytes(broken)
    refused = newcomer.keyturn("deliver", "ci-release", "--to", "credentials-file")
    assert refused.returncode == 5
    assert refused.stderr.startswith("keyturn: ")
    assert newcomer.credentials.read_bytes() == broken
    newcomer.does("refresh", "ci-release")
    assert newcomer.credentials.read_bytes() == broken


@pytest.mark.campaign
def test_a_plan_writes_nothing(newcomer: Person) -> None:
    before = newcomer.files()
    newcomer.does("adopt", "personal", "--plan")
    assert newcomer.files() == before
    assert not newcomer.row("personal")["managed"]


def test_files_of_others_are_not_written_through(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.credentials.chmod(0o666)
    refused = newcomer.keyturn("adopt", "personal", "--yes")
    assert refused.returncode == 5
    assert refused.stderr.splitlines()[-1].startswith("keyturn: ")
    assert b"aws_secret_access_key" in newcomer.credentials.read_bytes()
    assert newcomer.row("personal")["managed"] is False


@pytest.mark.campaign
def test_a_home_without_any_aws_files(newcomer: Person) -> None:
    newcomer.config.unlink()
    newcomer.credentials.unlink()
    listed = newcomer.keyturn("list")
    assert listed.returncode == 0
    assert listed.stdout == "No profiles.\n"
    assert newcomer.run(str(BIN / "keyturn"), "list", "--json").returncode == 0


@pytest.mark.campaign
def test_profiles_only_in_the_credentials_file_and_no_config_file(newcomer: Person) -> None:
    newcomer.config.unlink()
    before = newcomer.files()
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "personal", "--yes")
    assert newcomer.config.stat().st_mode & 0o777 == 0o600
    newcomer.does("refresh", "personal")
    newcomer.releases("ci-deploy")
    newcomer.releases("personal")
    assert newcomer.files() == before, "the config file that adopt made is gone again"


@pytest.mark.campaign
def test_a_config_file_behind_a_link_stays_behind_it(newcomer: Person) -> None:
    real = newcomer.sandbox.home / "dotfiles-config"
    real.write_bytes(newcomer.config.read_bytes())
    real.chmod(0o600)
    newcomer.config.unlink()
    newcomer.config.symlink_to(real)
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    assert newcomer.config.is_symlink()
    assert b"credential_process" in real.read_bytes()
