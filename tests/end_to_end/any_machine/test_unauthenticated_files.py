"""No plain file of keyturn causes a loss or gives a key away, whoever wrote it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.person import Person

LONG_AGO = "2020-01-01T00:00:00Z"


def index_path(person: Person) -> Path:
    return Path(person.environ["KEYTURN_HOME"]) / "state" / "index.json"


def forge_delivery(person: Person, name: str, **fields: Any) -> None:
    """Write a delivery record of a profile into the index, as anybody with the user's rights could."""
    path = index_path(person)
    table = json.loads(path.read_text())
    table["profiles"].setdefault(name, {})["delivered"] = {
        "path": str(person.credentials), "expires": LONG_AGO, "made": True, "region": None, **fields,
    }  # fmt: skip
    path.write_text(json.dumps(table))


def key_id_of(person: Person, section: str) -> str:
    text = person.credentials.read_text().split(f"[{section}]")[1]
    return text.split("aws_access_key_id = ")[1].split()[0]


RUNS: tuple[tuple[str, ...], ...] = (
    ("list",),
    ("stop", "personal"),
    ("refresh", "ci-deploy"),
    ("agent", "stop"),
)


@pytest.mark.parametrize("words", RUNS, ids=lambda words: words[0])
def test_no_entry_of_the_index_removes_a_native_key(newcomer: Person, words: tuple[str, ...]) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    before = newcomer.files()
    key_id = key_id_of(newcomer, "personal")
    for name in ("personal", "ci-deploy"):
        forge_delivery(newcomer, name, section="personal", key_ids=[key_id])
    newcomer.keyturn(*words)
    newcomer.keyturn("list")
    assert newcomer.files() == before


def test_no_entry_of_the_index_lets_a_delivery_replace_a_native_key(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    before = newcomer.files()
    forge_delivery(newcomer, "ci-release", section="personal", key_ids=[key_id_of(newcomer, "personal")])
    done = newcomer.keyturn("deliver", "ci-release", "--to", "credentials-file", "--as", "personal")
    assert done.returncode == 5, done.stdout
    assert newcomer.files() == before


def test_no_entry_of_the_index_edits_a_file_of_another_name(newcomer: Person, tmp_path: Path) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    other = tmp_path / "backup"
    expired: Mapping[str, str] = {
        "aws_access_key_id": "ASIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "s" * 40,
        "aws_session_token": "t" * 300, "aws_expiration": LONG_AGO,
    }  # fmt: skip
    text = "[work]\n" + "".join(f"{name} = {value}\n" for name, value in expired.items())
    other.write_text(text)
    other.chmod(0o600)
    forge_delivery(newcomer, "work", path=str(other), section="work", key_ids=["ASIAIOSFODNN7EXAMPLE"])
    newcomer.does("list")
    newcomer.keyturn("stop", "work")
    assert other.read_text() == text


def test_no_entry_of_the_index_ends_a_session_that_still_lives(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    newcomer.does("deliver", "ci-release", "--to", "credentials-file")
    before = newcomer.files()
    key_id = newcomer.row("ci-release")["key_id"]
    forge_delivery(newcomer, "ci-release", section="ci-release", key_ids=[key_id])
    newcomer.does("list")
    assert newcomer.files() == before


@pytest.mark.parametrize("name", ["state/index.json", "config/profiles.toml"])
def test_a_pipe_in_place_of_a_file_does_not_hang(newcomer: Person, name: str) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    path = Path(newcomer.environ["KEYTURN_HOME"]) / name
    path.unlink()
    os.mkfifo(path, 0o600)
    for words in (("list",), ("vault", "lock")):
        done = newcomer.keyturn(*words)
        assert done.stderr.count("\n") <= 2, done.stderr
        assert "Traceback" not in done.stderr
    newcomer.does("list")
