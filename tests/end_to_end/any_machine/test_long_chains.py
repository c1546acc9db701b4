"""Chains of thousands of source profiles: a problem line for the profile, and no harm to any other."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest

from tests.benchmarks.long_chain import chain_text, environ
from tests.end_to_end.person import Person

HOPS = 3000
#: Of processor time. The chain costs half a second, and 30 s if each profile walks it to its end.
SECONDS = 8.0


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_list_of_a_long_chain_is_printed_soon(newcomer: Person, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(chain_text(HOPS))
    before = _seconds_of_children()
    newcomer.environ = environ(tmp_path)
    shown = newcomer.keyturn("show", "p0")
    assert _seconds_of_children() - before < SECONDS
    assert shown.returncode == 0, shown.stderr
    assert f"its chain has {HOPS} source profiles, and at most" in shown.stdout


@pytest.mark.parametrize("verb", ["refresh", "env"])
def test_the_agent_refuses_a_long_chain_and_serves_others(long_chain: Person, verb: str) -> None:
    started = time.monotonic()
    refused = long_chain.keyturn(verb, "p0")
    assert refused.returncode == 1, refused.stderr
    assert f"its chain has {HOPS} source profiles" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "Traceback" not in refused.stderr
    assert long_chain.keyturn(verb, "ci-deploy").returncode == 0
    assert time.monotonic() - started < 3 * SECONDS


@pytest.fixture(scope="module")
def long_chain(person: Person) -> Person:
    """A user with an open vault, one managed profile, and a chain of thousands."""
    with person.config.open("a") as file:
        file.write("\n" + chain_text(HOPS))
    person.does("adopt", "ci-deploy", "--yes")
    return person


def test_a_long_managed_chain_is_refused_by_the_agent(long_chain: Person) -> None:
    folder = Path(long_chain.environ["KEYTURN_HOME"]) / "config"
    definitions = folder / "profiles.toml"
    with definitions.open("a") as file:
        for number in range(HOPS):
            file.write(
                f'\n[profiles.m{number}]\nkind = "role"\nrole_arn = "arn:aws:iam::111122223333:role/r"\n'
                f'source_profile = "m{number + 1}"\ndelivery = "nowhere"\n'
            )
    for verb in ("refresh", "credential-process"):
        refused = long_chain.keyturn(verb, "m0")
        assert refused.returncode == 1, refused.stderr
        assert "source profiles" in refused.stderr
        assert refused.stderr.count("\n") == 1
    assert long_chain.keyturn("refresh", "ci-deploy").returncode == 0
    listed = long_chain.does("list")
    assert "m2999" in listed
