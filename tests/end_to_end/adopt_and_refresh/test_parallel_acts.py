"""Twelve commands at once, each on a profile of its own in the two shared files: all of them work."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from tests.end_to_end.parallel_acts import Act, add_users, require_all_done, run_at_once
from tests.end_to_end.person import Person

TWELVE = 12


@pytest.fixture
def team(newcomer: Person) -> list[str]:
    """Return twelve profiles with plaintext keys of a user with an open vault."""
    names = list(add_users(newcomer, TWELVE))
    newcomer.makes_vault()
    return names


def rows(person: Person) -> Mapping[str, Mapping[str, object]]:
    return {row["name"]: row for row in json.loads(person.does("list", "--json"))["profiles"]}


def do_all(person: Person, *acts: tuple[str, ...]) -> None:
    require_all_done(run_at_once(person, [Act(words) for words in acts]))


@pytest.mark.timeout(600)
def test_twelve_adoptions_and_twelve_releases_at_once(newcomer: Person, team: list[str]) -> None:
    before = newcomer.files()
    do_all(newcomer, *(("adopt", name, "--yes") for name in team))
    found = rows(newcomer)
    assert all(found[name]["managed"] for name in team)
    assert "aws_secret_access_key" not in newcomer.credentials.read_text().partition("[team-00]")[2]
    for name in team:
        assert newcomer.config.read_text().count(f"credential-process {name}\n") == 1

    do_all(newcomer, *(("release", name, "--yes") for name in team))
    assert newcomer.files() == before
    assert not any(row["managed"] for row in rows(newcomer).values())


@pytest.mark.timeout(600)
def test_twelve_deliveries_at_once(newcomer: Person, team: list[str]) -> None:
    before = newcomer.files()
    newcomer.does("adopt", *team, "--yes")
    adopted = newcomer.files()
    do_all(newcomer, *(("deliver", name, "--to", "credentials-file") for name in team))
    found = rows(newcomer)
    assert {found[name]["delivery"] for name in team} == {"credentials-file"}
    delivered = newcomer.credentials.read_text().partition("[team-00]")[2]
    assert delivered.count("aws_session_token") == TWELVE
    do_all(newcomer, *(("deliver", name, "--to", "nowhere") for name in team))
    assert newcomer.files()[1] == adopted[1]
    do_all(newcomer, *(("deliver", name, "--to", "credential-process") for name in team))
    assert newcomer.files() == adopted
    newcomer.releases(*team)
    assert newcomer.files() == before


@pytest.mark.timeout(600)
def test_twelve_settings_at_once(newcomer: Person, team: list[str]) -> None:
    newcomer.does("adopt", *team, "--yes")
    before = newcomer.files()
    for setting in ("region=eu-north-1", "renew=off"):
        do_all(newcomer, *(("set", name, setting) for name in team))
    for name in team:
        settings = json.loads(newcomer.does("set", name, "--json"))["settings"]
        assert (settings["region"], settings["renew"]) == ("eu-north-1", "off")
    do_all(newcomer, *(("set", name, "region=eu-west-1") for name in team))
    assert newcomer.files() == before
