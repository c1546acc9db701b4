"""Any text as an argument or in the environment is refused in one line or taken literally, never obeyed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from keyturn.cli.main import keyturn
from tests.adversarial.hostile_input.corpus import NAMES, as_argument, spread
from tests.adversarial.hostile_input.verbs import VerbRunner

CONFIG = """\
[default]
region = eu-central-1

[profile ci]
region = eu-west-1

[profile role]
role_arn = arn:aws:iam::123456789012:role/Deploy
source_profile = ci

[profile tool]
credential_process = /bin/false
"""
CREDENTIALS = """\
[ci]
aws_access_key_id = AKIAQQQQQQQQQQQQQQQQ
aws_secret_access_key = wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00
"""
#: Places where the same few lines refuse any text: only every sixth text is tried there.
RARE = (
    ("list", "--json", "--filter", "TEXT"), ("refresh", "--", "TEXT"), ("refresh", "--mfa-code", "TEXT",
    "ci"), ("vault", "TEXT"),
    ("deliver", "--to", "nowhere", "--", "TEXT"), ("deliver", "ci", "--to", "TEXT"), ("agent", "TEXT"),
    ("list", "TEXT"),
    ("release", "ci", "--yes", "--confirm", "TEXT"), ("vault", "init", "--slot", "TEXT"), ("vault", "status",
    "TEXT"),
    ("vault", "unlock", "--passphrase-fd", "TEXT"), ("agent", "status", "--json", "TEXT"), ("refresh",
    "--due", "--json", "--", "TEXT"),
    ("exec", "TEXT", "--endpoint", "--", "true"), ("env", "--shell", "json", "--", "TEXT"), ("exec", "ci",
    "--min-left", "TEXT", "--", "true"),
)  # fmt: skip
#: Variables that keyturn, click, Textual or botocore reads.
VARIABLES = (
    "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CA_BUNDLE",
    "AWS_ENDPOINT_URL_STS", "TERM",
    "LC_ALL", "COLUMNS", "LINES", "NO_COLOR", "KEYTURN_SANDBOX", "AWS_LOGIN_CACHE_DIRECTORY",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE", "AWS_STS_REGIONAL_ENDPOINTS",
    "HTTPS_PROXY",
)  # fmt: skip


def every_verb() -> Iterator[tuple[str, ...]]:
    """Yield all verbs of the command line, except those that would create a file named like the text."""

    def below(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                yield from below(command, (*path, name))
            elif name != "export":
                yield (*path, name)

    return below(keyturn, ())


def arguments(machine: VerbRunner, texts: tuple[str, ...], record: Callable[[str, object], None]) -> None:
    """Put each of `texts` in every argument of every verb."""
    machine.config.write_text(CONFIG)
    machine.credentials.write_text(CREDENTIALS)
    files = machine.config.read_bytes(), machine.credentials.read_bytes()
    with machine:
        for nth, text in enumerate(texts):
            rare = RARE if nth % 6 == 0 else ()
            for words in (
                *(tuple(text if word == "TEXT" else word for word in words) for words in rare),
                ("show", text), ("show", "--json", "--", text), ("list", "--filter", text), ("refresh",
                "--json", "--", text, "ci"),
                ("stop", "--", text), ("deliver", "ci", "--to", "credentials-file", f"--as={text}"),
                ("credential-process", text),
                ("credential-process", "--", text), ("adopt", "--", text), ("release", "--", text), ("vault",
                "import", "--", text), (text,),
            ):  # fmt: skip
                if words[0] in ("", "--sandbox") or _starts_the_app_or_a_sandbox(words):
                    continue
                machine.call_checked(*words)
            for words in every_verb() if nth % 6 == 1 else ():
                machine.call_checked(*words, "--", *[text] * 2)
            # The folder does not exist, so an export never writes.
            machine.call_checked("vault", "export", "--yes", "--", f"no-such-folder/{text}")
        machine.check(
            wrong=(machine.config.read_bytes(), machine.credentials.read_bytes()) != files,
            what="a shared file changed",
        )
    machine.assert_harmless(record, len(texts))


def _starts_the_app_or_a_sandbox(words: tuple[str, ...]) -> bool:
    ours = words[: words.index("--")] if "--" in words else words
    return "--sandbox" in ours


def variables(machine: VerbRunner, texts: tuple[str, ...], record: Callable[[str, object], None]) -> None:
    """Put each of `texts` in all variables at once, then in the profile and the region alone."""
    machine.config.write_text(CONFIG)
    machine.credentials.write_text(CREDENTIALS)
    with machine:
        for text in texts:
            everywhere = dict.fromkeys(VARIABLES, text)
            for words in (("list", "--json"), ("refresh",), ("vault", "status")):
                machine.call_checked(*words, environ=everywhere)
            machine.call_checked("refresh", environ={"AWS_PROFILE": text})
            regions = {"AWS_REGION": text, "AWS_DEFAULT_REGION": text}
            for verb in (("list",), ("refresh", "tool")):
                machine.call_checked(*verb, environ=regions)
    machine.assert_harmless(record, len(texts))


@pytest.fixture
def machine(tmp_path: Path) -> VerbRunner:
    return VerbRunner(tmp_path / "machine")


def test_a_text_in_place_of_any_argument(
    machine: VerbRunner, record_property: Callable[[str, object], None]
) -> None:
    arguments(machine, spread(tuple(as_argument(NAMES)), 7), record_property)


def test_a_text_in_any_variable(machine: VerbRunner, record_property: Callable[[str, object], None]) -> None:
    variables(machine, spread(tuple(as_argument(NAMES)), 7), record_property)


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_every_text_in_place_of_any_argument(
    machine: VerbRunner, record_property: Callable[[str, object], None]
) -> None:
    arguments(machine, tuple(as_argument(NAMES)), record_property)


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_every_text_in_any_variable(
    machine: VerbRunner, record_property: Callable[[str, object], None]
) -> None:
    variables(machine, tuple(as_argument(NAMES)), record_property)
