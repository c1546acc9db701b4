"""Dependents that adopt took along are released with their source, and their count is true."""

from __future__ import annotations

from tests.end_to_end.person import PASSPHRASE, Person


def test_the_command_that_adopt_names_takes_everything_back(newcomer: Person) -> None:
    newcomer.makes_vault()
    before = newcomer.files()
    adopted = newcomer.keyturn("adopt", "acme-build", "--yes")
    names = [line.removeprefix("adopted ") for line in adopted.stdout.splitlines()]
    assert len(names) > 3
    assert "keyturn release acme-build --with-dependents" in adopted.stderr

    plan = newcomer.keyturn("release", "acme-build", "--plan")
    assert f"and {len(names) - 4} more stay managed" in plan.stderr
    assert "--with-dependents releases them too" in plan.stderr

    words = ("release", "acme-build", "--with-dependents", "--yes")
    released = newcomer.does(*words, fds={"--passphrase-fd": PASSPHRASE})
    assert sorted(released.splitlines()) == sorted(f"released {name}" for name in names)
    assert newcomer.files() == before


def test_without_the_option_the_profile_alone_is_released(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    released = newcomer.does("release", "ci-deploy", "--yes", fds={"--passphrase-fd": PASSPHRASE})
    assert released == "released ci-deploy\n"
    assert newcomer.row("ci-release")["managed"] is True


def test_a_profile_that_nothing_depends_on_offers_nothing(newcomer: Person) -> None:
    newcomer.makes_vault()
    adopted = newcomer.keyturn("adopt", "personal", "--yes")
    assert "--with-dependents" not in adopted.stderr + adopted.stdout
    plan = newcomer.keyturn("release", "personal", "--plan")
    assert "--with-dependents" not in plan.stderr
