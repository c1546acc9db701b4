"""The AWS SDK for JavaScript gets its credentials from every delivery of keyturn. Run by `.ci/run matrix
javascript`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.end_to_end.person import BIN, Person

SCRIPT = str(Path(__file__).with_name("javascript.cjs"))
RELEASE = "arn:aws:sts::444455556666:assumed-role/ReleaseManager/ci-release"

pytestmark = pytest.mark.campaign


@pytest.fixture(scope="module")
def adopter(person: Person) -> Person:
    """A user who has adopted a role, and Node.js with the SDK installed."""
    person.environ["NODE_PATH"] = os.environ["KEYTURN_NODE_PATH"]
    person.does("adopt", "ci-deploy", "--yes")
    return person


def identity(person: Person, *words: str, **variables: str) -> str:
    """Return the ARN that the SDK prints when started by `words`."""
    done = person.run(*words, "node", SCRIPT, extra=variables)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout.strip()


def test_by_the_credential_process_of_a_profile(adopter: Person) -> None:
    assert identity(adopter, AWS_PROFILE="ci-release") == RELEASE


def test_by_the_environment_of_exec(adopter: Person) -> None:
    assert identity(adopter, str(BIN / "keyturn"), "exec", "ci-release", "--") == RELEASE


def test_by_the_endpoint_of_exec(adopter: Person) -> None:
    assert identity(adopter, str(BIN / "keyturn"), "exec", "ci-release", "--endpoint", "--") == RELEASE


def test_by_the_credentials_file(adopter: Person) -> None:
    adopter.does("deliver", "ci-release", "--to", "credentials-file", "--as", "tooling")
    assert identity(adopter, AWS_PROFILE="tooling") == RELEASE
