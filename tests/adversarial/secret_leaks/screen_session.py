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
class Watched:
    """A terminal that is searched at every step."""

    one: Flow
    screen: Terminal
    size: tuple[int, int]
    steps: int = 0
    shows_recovery_key: bool = False
    _seen: set[str] = field(default_factory=set)

    def step(self, *parts: str) -> str:
        """Wait until the screen shows the text, then search it and its scrollback, colours included."""
        text = self.screen.shows(*parts)
        self.steps += 1
        self.one.learn()
        but = SHOWN_ONCE if self.shows_recovery_key else ()
        label = f"screen {self.steps} ({' '.join(parts)})"
        self.one.hits += self.one.search.look(label, self.screen.scrollback().encode(), but=but)
        return text

    def finds(self, name: str) -> None:
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

    def types(self, text: str) -> None:
        """Type a secret, search the screen with the secret in its field, and press Enter."""
        self.screen.type_unseen(text)
        self.step()
        self.screen.press("Enter")


@contextmanager
def watched(one: Flow, folder: Path, name: str, width: int, height: int) -> Iterator[Watched]:
    """Run the app; afterwards search all bytes that it has sent."""
    sent = folder / "sent"
    with terminal(name, one.person.environ, width=width, height=height) as screen:
        screen.records(sent)
        yield Watched(one, screen, (width, height))
        screen.shows("ended with 0")
        one.hits += one.search.look("the terminal afterwards", screen.scrollback().encode())
    one.hits += one.search.look_in_file(sent, but=SHOWN_ONCE)
    sent.unlink()


def working_day(at: Watched) -> None:
    """Adopt with a new vault, refresh with and without codes, right and wrong ones, open the timeline, lock,
    unlock, stop and release; open every screen and dialog once."""
    at.step("Profiles", "Quit")
    at.finds("personal")
    at.screen.press("m")
    at.step("review", "aws_secret_access_key = ***")
    at.screen.press("Enter")
    _vault_made(at)
    at.step("adopted")
    at.screen.press("r")
    at.step("refreshed personal", "11h")
    at.screen.press("Enter")
    at.step("credential_process")
    at.screen.press("Escape")
    at.screen.press("?")
    at.step("Help")
    at.screen.press("Escape")
    _with_codes(at)
    _timeline(at)
    _locked(at)
    at.finds("personal")
    at.screen.press("x")
    at.step("session deleted")
    at.screen.press("m")
    at.step("review")
    at.screen.press("Enter")
    _asked_for_it(at, "not the passphrase")
    at.step("released personal")
    at.screen.press("q")


def _with_codes(at: Watched) -> None:
    at.finds("acme-alice")
    at.screen.press("m")
    at.step("review")
    at.screen.press("Enter")
    at.step("adopted")
    at.screen.press("r")
    at.step("six digits")
    at.types("000000")
    at.step("Code refused")
    at.screen.type_unseen(at.one.code("alice"))
    at.step("refreshed acme-alice")
    at.finds("prod-admin")
    at.screen.press("r")
    # Uses the same code: the app asks for no other.
    at.step("refreshed prod-admin")


def _timeline(at: Watched) -> None:
    """Show all sessions and key ages, change and move the time window, and use the narrow form without a
    chart."""
    at.screen.press("t")
    at.step("3 Timeline", "sort: expiry", "prod-admin")
    for key, seen in (
        ("-", "8h, "),
        ("l", "3 Timeline"),
        (".", "3 Timeline"),
        ("s", "sort: name"),
        ("Tab", "acme-alice"),
    ):
        at.screen.press(key)
        at.step(seen)
    at.screen.resize(50, 20)
    at.step("EXPIRES", "prod-admin", "acme-alice")
    at.screen.resize(*at.size)
    at.step("3 Timeline", "sort: name")
    at.screen.press("Enter")
    at.step("credential_process")
    at.screen.press("Escape")
    at.step("sort: name")
    at.screen.press("p")
    at.step("paused")
    at.screen.press("p")
    at.screen.press("Escape")
    at.step("Profiles")


def _locked(at: Watched) -> None:
    at.screen.press("L")
    at.step("locked")
    at.finds("ci-audit")
    at.screen.press("m")
    at.step("review")
    at.screen.press("Enter")
    _asked_for_it(at, "a wrong passphrase")
    at.step("adopted")


def _asked_for_it(at: Watched, wrong: str) -> None:
    """Type a wrong passphrase, then the right one."""
    at.step("assphrase")
    at.types(at.one.new_secret(wrong))
    at.step("Wrong passphrase")
    at.types(at.one.passphrase)


def _vault_made(at: Watched) -> None:
    """Go through the Create vault screen, including a passphrase that is too short and one that differs."""
    at.step("Create vault", "Passphrase")
    at.types("short")
    at.step("Too short")
    at.types(at.one.passphrase)
    at.step("Repeat")
    at.types(at.one.new_secret("one that differs"))
    at.step("Passphrases don't match")
    at.types(at.one.passphrase)
    at.step("Repeat")
    at.types(at.one.passphrase)
    at.shows_recovery_key = True
    text = re.sub(r"[\s│┃▌▐]+", "", at.screen.shows("AGE-SECRET-KEY-1"))
    key = _RECOVERY.search(text)
    assert key is not None, "the recovery key is not to be read"
    at.one.search.add(SHOWN_ONCE[0], key[0])
    at.one.search.add(SHOWN_ONCE[1], key[0].lower())
    at.step("AGE-SECRET-KEY-1")
    at.screen.type_unseen(key[0][-6:])
    at.screen.press("Enter")
    at.screen.hides("AGE-SECRET-KEY-1")
    at.shows_recovery_key = False
