"""A working day in the app on a real terminal, with every screen, its scrollback and all sent bytes
searched."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.adversarial.secret_leaks.verb_flow import Flow
from tests.end_to_end.terminal import Terminal, terminal

_KEY_CHARACTERS = "[02-9AC-HJ-NP-Z]"
_RECOVERY = re.compile(rf"AGE-SECRET-KEY-1{_KEY_CHARACTERS}{{58}}")
#: Names in the search of the recovery key, which is shown once, on the screen that has it typed back.
SHOWN_ONCE = ("recovery key", "recovery key, small")


@dataclass
class SearchedTerminal:
    """A terminal that is searched at every step."""

    user: Flow
    screen: Terminal
    size: tuple[int, int]
    steps: int = 0
    shows_recovery_key: bool = False
    _seen: set[str] = field(default_factory=set)

    def step(self, *parts: str) -> str:
        """Wait until the screen shows the text, then search it and its scrollback, colours included."""
        text = self.screen.shows(*parts)
        self.steps += 1
        self.user.add_made_secrets()
        but = SHOWN_ONCE if self.shows_recovery_key else ()
        label = f"screen {self.steps} ({' '.join(parts)})"
        self.user.hits += self.user.search.search(label, self.screen.scrollback().encode(), but=but)
        return text

    def find(self, name: str) -> None:
        """Put the cursor on one profile by the filter."""
        self.screen.press("Escape")
        self.screen.press("/")
        self.screen.press("C-u")
        self.screen.type(name)
        self.screen.press("Enter")
        self.screen.shows(f"/{name} ")
        self.screen.press("g")
        self.screen.until(
            lambda text: any("▸" in line and f" {name} " in line for line in text.splitlines()),
            f"{name} to be chosen",
        )
        self.step(name)

    def type_keys(self, text: str) -> None:
        """Type a secret, search the screen with the secret in its field, and press Enter."""
        self.screen.type_unseen(text)
        self.step()
        self.screen.press("Enter")


@contextmanager
def open_searched_terminal(
    user: Flow, folder: Path, name: str, width: int, height: int
) -> Iterator[SearchedTerminal]:
    """Run the app; afterwards search all bytes that it has sent."""
    sent = folder / "sent"
    with terminal(name, user.person.environ, width=width, height=height) as screen:
        screen.records(sent)
        yield SearchedTerminal(user, screen, (width, height))
        screen.shows("ended with 0")
        user.hits += user.search.search("the terminal afterwards", screen.scrollback().encode())
    user.hits += user.search.search_file(sent, but=SHOWN_ONCE)
    sent.unlink()


def working_day(terminal: SearchedTerminal) -> None:
    """Adopt with a new vault, refresh with and without codes, right and wrong ones, open the timeline, lock,
    unlock, stop and release; open every screen and dialog once."""
    terminal.step("Profiles", "Quit")
    terminal.find("personal")
    terminal.screen.press("m")
    terminal.step("review", "aws_secret_access_key = ***")
    terminal.screen.press("Enter")
    _create_vault(terminal)
    terminal.step("adopted")
    terminal.screen.press("r")
    terminal.step("refreshed personal", "11h")
    terminal.screen.press("Enter")
    terminal.step("credential_process")
    terminal.screen.press("Escape")
    terminal.screen.press("?")
    terminal.step("Help")
    terminal.screen.press("Escape")
    _with_codes(terminal)
    _timeline(terminal)
    _locked(terminal)
    terminal.find("personal")
    terminal.screen.press("x")
    terminal.step("session deleted")
    terminal.screen.press("m")
    terminal.step("review")
    terminal.screen.press("Enter")
    _enter_passphrase(terminal, "not the passphrase")
    terminal.step("released personal")
    terminal.screen.press("q")


def _with_codes(terminal: SearchedTerminal) -> None:
    terminal.find("acme-alice")
    terminal.screen.press("m")
    terminal.step("review")
    terminal.screen.press("Enter")
    terminal.step("adopted")
    terminal.screen.press("r")
    terminal.step("six digits")
    terminal.type_keys("000000")
    terminal.step("Code refused")
    terminal.screen.type_unseen(terminal.user.code("alice"))
    terminal.step("refreshed acme-alice")
    terminal.find("prod-admin")
    terminal.screen.press("r")
    # Uses the same code: the app asks for no other.
    terminal.step("refreshed prod-admin")


def _timeline(terminal: SearchedTerminal) -> None:
    """Show all sessions and key ages, change and move the time window, and use the narrow form without a
    chart."""
    terminal.screen.press("t")
    terminal.step("3 Timeline", "sort: expiry", "prod-admin")
    for key, expected in (
        ("-", "8h, "),
        ("l", "3 Timeline"),
        (".", "3 Timeline"),
        ("s", "sort: name"),
        ("Tab", "acme-alice"),
    ):
        terminal.screen.press(key)
        terminal.step(expected)
    terminal.screen.resize(50, 20)
    terminal.step("EXPIRES", "prod-admin", "acme-alice")
    terminal.screen.resize(*terminal.size)
    terminal.step("3 Timeline", "sort: name")
    terminal.screen.press("Enter")
    terminal.step("credential_process")
    terminal.screen.press("Escape")
    terminal.step("sort: name")
    terminal.screen.press("p")
    terminal.step("paused")
    terminal.screen.press("p")
    terminal.screen.press("Escape")
    terminal.step("Profiles")


def _locked(terminal: SearchedTerminal) -> None:
    terminal.screen.press("L")
    terminal.step("locked")
    terminal.find("ci-audit")
    terminal.screen.press("m")
    terminal.step("review")
    terminal.screen.press("Enter")
    _enter_passphrase(terminal, "a wrong passphrase")
    terminal.step("adopted")


def _enter_passphrase(terminal: SearchedTerminal, wrong_passphrase: str) -> None:
    """Type a wrong passphrase, then the right one."""
    terminal.step("assphrase")
    terminal.type_keys(terminal.user.new_secret(wrong_passphrase))
    terminal.step("Wrong passphrase")
    terminal.type_keys(terminal.user.passphrase)


def _create_vault(terminal: SearchedTerminal) -> None:
    """Go through the Create vault screen, including a passphrase that is too short and one that differs."""
    terminal.step("Create vault", "Passphrase")
    terminal.type_keys("short")
    terminal.step("Too short")
    terminal.type_keys(terminal.user.passphrase)
    terminal.step("Repeat")
    terminal.type_keys(terminal.user.new_secret("one that differs"))
    terminal.step("Passphrases don't match")
    terminal.type_keys(terminal.user.passphrase)
    terminal.step("Repeat")
    terminal.type_keys(terminal.user.passphrase)
    terminal.shows_recovery_key = True
    text = re.sub(r"[\s│┃▌▐]+", "", terminal.screen.shows("AGE-SECRET-KEY-1"))
    key = _RECOVERY.search(text)
    assert key is not None, "the recovery key is not to be read"
    terminal.user.search.add(SHOWN_ONCE[0], key[0])
    terminal.user.search.add(SHOWN_ONCE[1], key[0].lower())
    terminal.step("AGE-SECRET-KEY-1")
    terminal.screen.type_unseen(key[0][-6:])
    terminal.screen.press("Enter")
    terminal.screen.hides("AGE-SECRET-KEY-1")
    terminal.shows_recovery_key = False
