"""The app as a user drives it: 80x24, keyboard only, in tmux."""

from __future__ import annotations

import os

import pytest

from tests.end_to_end.person import WEAK_KEYTURN, Person
from tests.end_to_end.terminal import Terminal, terminal

PASSPHRASE = "three small words"


def select_profile(screen: Terminal, name: str) -> None:
    """Put the cursor on one profile with the filter."""
    screen.press("/")
    screen.type(name)
    screen.press("Enter")
    screen.until(
        lambda text: any("▸" in line and name in line for line in text.splitlines()),
        f"{name} under the cursor",
    )


def create_vault(screen: Terminal) -> None:
    """Complete the Create vault screen with a passphrase."""
    screen.shows("Create vault", "Passphrase")
    screen.type(PASSPHRASE)
    screen.press("Enter")
    screen.shows("Repeat")
    screen.type(PASSPHRASE)
    screen.press("Enter")
    text = screen.shows("AGE-SECRET-KEY-1")
    key = "".join(part.strip("│ ") for part in text.splitlines()[_first(text) : _first(text) + 2])
    recovery = "AGE-SECRET-KEY-1" + key.split("AGE-SECRET-KEY-1")[1].split()[0]
    screen.type(recovery[-6:])
    screen.press("Enter")


def _first(text: str) -> int:
    return next(number for number, line in enumerate(text.splitlines()) if "AGE-SECRET-KEY-1" in line)


@pytest.mark.parametrize("config", ["whole", pytest.param("unparsable", marks=pytest.mark.campaign)])
def test_with_no_vault_before_it_starts_adopts_refreshes_and_quits(newcomer: Person, config: str) -> None:
    if config == "unparsable":
        newcomer.config.write_bytes(b"[profile one]\n[profile one]\n")
    before = newcomer.config.read_bytes()
    with terminal(f"kt-app-{config}-{os.getpid()}", newcomer.environ) as screen:
        screen.shows("Profiles", "Quit")
        if config == "unparsable":
            screen.shows("config:2")
        select_profile(screen, "personal")
        assert "■ key" in screen.line("▸")
        screen.press("m")
        screen.shows("review", "aws_secret_access_key = ***")
        screen.press("Enter")
        create_vault(screen)
        screen.shows("adopted")
        screen.press("r")
        screen.shows("refreshed personal", "11h")
        assert "11h" in screen.line("▸")
        screen.press("q")
        screen.shows("ended with 0")
    assert (
        b"aws_secret_access_key"
        not in newcomer.credentials.read_bytes().split(b"[personal]")[1].split(b"[")[0]
    )
    if config == "unparsable":
        assert newcomer.config.read_bytes() == before
    else:
        assert newcomer.aws_identity("personal") == "arn:aws:iam::999988887777:user/jo"


def test_in_the_sandbox_the_expired_profile_lives_again_with_one_key() -> None:
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "KEYTURN_HOME"))
    }
    with terminal(f"kt-sandbox-{os.getpid()}", environ, "--sandbox", program=WEAK_KEYTURN) as screen:
        screen.shows("sandbox", "ci-audit")
        select_profile(screen, "ci-audit")
        assert "expired" in screen.line("▸")
        screen.press("r")
        screen.until(
            lambda text: any("▸ ●" in line and "ci-audit" in line for line in text.splitlines()),
            "a fresh row",
        )
        screen.press("q")
        screen.shows("ended with 0")
