"""The verbs over a real Secret Service: gnome-keyring on its own session bus."""

from __future__ import annotations

from pathlib import Path

from keyturn_sandbox import Sandbox
from tests.end_to_end.person import Person
from tests.support.needs import needs

SCRIPT = """
printf %s correct-horse | gnome-keyring-daemon --unlock --components=secrets >/dev/null
say() { echo "== $*"; }
keyturn vault init --slot keyring && say made
keyturn adopt personal --yes && say adopted
keyturn vault lock
keyturn vault status
keyturn refresh personal && say refreshed without a question
keyturn release personal --yes; say "release without words: $?"
keyturn release personal --yes --confirm "release personal" && say released
keyturn agent stop
"""


def test_the_keyring_opens_the_vault_without_a_question_and_a_release_wants_words(tmp_path: Path) -> None:
    bus, _ = needs("dbus-run-session"), needs("gnome-keyring-daemon")
    with Sandbox(tmp_path / "sandbox") as sandbox:
        person = Person(sandbox)
        before = person.files()
        runtime = tmp_path / "run"
        runtime.mkdir(mode=0o700)
        person.environ["XDG_RUNTIME_DIR"] = str(runtime)
        person.environ.pop("DISPLAY", None)
        done = person.run(bus, "--", "sh", "-c", SCRIPT)
        output = done.stdout
        assert "== made" in output, done.stderr
        assert "== adopted" in output, done.stderr
        assert "The system keyring unlocks it when needed" in output
        assert "== refreshed without a question" in output, done.stderr
        assert "== release without words: 4" in output
        assert "== released" in output, done.stderr
        assert "release personal" in done.stderr
        assert person.files() == before
