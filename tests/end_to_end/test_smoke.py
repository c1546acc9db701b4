"""The installed program does its main job, by its verbs and in its app. `.ci/run matrix` runs this with each
Python version and with the lowest declared dependencies."""

from __future__ import annotations

import json
import os
import sys

from tests.end_to_end.person import KEYTURN, PASSPHRASE, Person
from tests.end_to_end.terminal import terminal

#: The roles that ci-deploy signs for; adopt takes them along.
ROLES = ("ci-release", "ci-audit")
#: Wrong command, option, value and number, and a missing argument: each is an error class of click.
WRONG = (
    ("lits",),
    ("vault", "opne"),
    ("list", "--bogus"),
    ("env", "ci-deploy", "--shell", "bogus"),
    ("vault", "unlock", "--passphrase-fd", "seven"),
    ("show",),
)
SHOW_KEYS = (
    "import json, os; print(json.dumps({n: v for n, v in os.environ.items() if n.startswith('AWS_')}))"
)


def test_the_verbs_adopt_refresh_hand_out_rotate_and_release(newcomer: Person) -> None:
    before = newcomer.files()
    newcomer.creates_vault()
    newcomer.does("vault", "unlock", fds={"--passphrase-fd": PASSPHRASE})
    newcomer.does("adopt", "ci-deploy", "--yes")
    newcomer.does("refresh", "ci-deploy", "ci-audit")
    assert [newcomer.row(name)["state"] for name in ("ci-deploy", "ci-audit")] == ["fresh", "fresh"]
    given = json.loads(newcomer.does("credential-process", "ci-deploy"))
    assert given["AccessKeyId"].startswith("ASIA")

    environ = json.loads(newcomer.does("exec", "ci-deploy", "--", sys.executable, "-c", SHOW_KEYS))
    assert environ["AWS_ACCESS_KEY_ID"] == given["AccessKeyId"]

    status = json.loads(newcomer.does("rotate", "ci-deploy", "--status", "--json"))
    assert [key["held"] for key in status["keys"]] == ["current"]
    newcomer.does("rotate", "ci-deploy", "--yes")
    status = json.loads(newcomer.does("rotate", "ci-deploy", "--status", "--json"))
    assert sorted(key["held"] for key in status["keys"]) == ["current", "previous"]
    newcomer.does("rotate", "ci-deploy", "--undo", "--yes")

    newcomer.releases("ci-deploy", *ROLES)
    assert newcomer.files() == before


def test_each_wrong_command_line_is_refused_in_one_line(newcomer: Person) -> None:
    for words in WRONG:
        done = newcomer.keyturn(*words)
        assert (done.returncode, done.stdout) == (2, ""), (words, done.stderr)
        assert done.stderr.startswith("keyturn: "), words
        assert "--help" in done.stderr, words
        assert done.stderr.count("\n") == 1, words


def row_under_cursor(text: str, profile: str) -> str:
    """Return the row under the cursor in the list, without the details beside it; empty if it is another."""
    return next((row[:70] for row in text.splitlines() if "▸" in row and profile in row), "")


def test_the_app_lists_helps_refreshes_and_quits() -> None:
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "KEYTURN_HOME"))
    }
    name = f"kt-smoke-{os.getpid()}"
    with terminal(name, environ, "--sandbox", program=(KEYTURN,), width=120, height=36) as screen:
        screen.shows("Profiles", "ci-deploy", "prod-admin", "Quit")
        screen.press("?")
        screen.shows("─ Keys ─", "get a new session for this profile")
        screen.press("Escape")
        screen.hides("─ Keys ─")
        screen.press("/")
        screen.type("ci-audit")
        screen.press("Enter")
        screen.until(
            lambda text: "expired" in row_under_cursor(text, "ci-audit"), "ci-audit under the cursor"
        )
        screen.press("r")
        screen.shows("refreshed ci-audit")
        screen.until(lambda text: "● " in row_under_cursor(text, "ci-audit"), "a live session")
        screen.press("q")
        screen.shows("ended with 0")
