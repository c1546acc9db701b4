"""The region of a program that keyturn gives a session: the caller's own, else the profile's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from keyturn.delivery.environment import REGIONS
from keyturn_sandbox import Sandbox
from tests.end_to_end.person import KEYTURN, Person

PRINT = f"import os; print([os.environ.get(name) for name in {REGIONS!r}])"
#: The caller's variables, and the two that the program gets. The profile has the region eu-west-1.
CASES: tuple[tuple[dict[str, str], tuple[str, str]], ...] = (
    ({}, ("eu-west-1", "eu-west-1")),
    ({"AWS_DEFAULT_REGION": "ap-south-2"}, ("ap-south-2", "ap-south-2")),
    ({"AWS_REGION": "ap-south-2"}, ("ap-south-2", "ap-south-2")),
    ({"AWS_REGION": "ap-south-2", "AWS_DEFAULT_REGION": "sa-east-1"}, ("ap-south-2", "sa-east-1")),
    ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "sa-east-1"}, ("sa-east-1", "sa-east-1")),
)


@pytest.fixture(scope="module")
def reg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """A user with the profile `reg` in eu-west-1, which keyturn manages."""
    with Sandbox(tmp_path_factory.mktemp("reg")) as sandbox:
        person = Person(sandbox)
        key = next(
            block for block in person.credentials.read_text().split("[") if block.startswith("ci-deploy]")
        )
        with person.credentials.open("a") as file:
            file.write("\n[" + key.replace("ci-deploy]", "reg]"))
        with person.config.open("a") as file:
            file.write("\n[profile reg]\nregion = eu-west-1\n")
        person.makes_vault()
        person.does("adopt", "reg", "--yes")
        try:
            yield person
        finally:
            person.leaves()


def _printed(person: Person, *words: str, extra: dict[str, str]) -> str:
    done = person.keyturn(*words, extra=extra)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("extra", "expected"), CASES)
def test_exec_env_and_an_endpoint_keep_the_callers_region(
    reg: Person, extra: dict[str, str], expected: tuple[str, str]
) -> None:
    program = ("--", sys.executable, "-c", PRINT)
    for words in (("exec", "reg", *program), ("exec", "reg", "--endpoint", *program)):
        assert _printed(reg, *words, extra=extra).strip() == str(list(expected)), words
    found = json.loads(_printed(reg, "env", "reg", "--shell", "json", extra=extra))
    assert tuple(found[name] for name in REGIONS) == expected


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell_that_evaluates_the_lines_keeps_its_region(reg: Person, shell: str) -> None:
    script = f'eval "$({KEYTURN} env reg --shell {shell})"; echo "$AWS_REGION $AWS_DEFAULT_REGION"'
    environ = {**reg.environ, "AWS_REGION": "ap-south-2", "PATH": os.environ["PATH"]}
    done = subprocess.run([shell, "-c", script], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ap-south-2", "ap-south-2"]


def test_region_sets_both(reg: Person) -> None:
    extra = {"AWS_REGION": "ap-south-2"}
    words = ("exec", "reg", "--region", "us-east-2", "--", sys.executable, "-c", PRINT)
    assert _printed(reg, *words, extra=extra).strip() == "['us-east-2', 'us-east-2']"
    found = json.loads(_printed(reg, "env", "reg", "--region", "us-east-2", "--shell", "json", extra=extra))
    assert {found[name] for name in REGIONS} == {"us-east-2"}
    refused = reg.keyturn("env", "reg", "--region", "a b")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("keyturn: Invalid region")
