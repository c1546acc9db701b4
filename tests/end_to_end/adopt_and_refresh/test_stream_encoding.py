"""The app on a stream that cannot encode its lines and symbols."""

from __future__ import annotations

import os

from tests.end_to_end.person import KEYTURN, Person
from tests.end_to_end.terminal import terminal


def test_the_app_draws_ascii_on_an_ascii_stream(newcomer: Person) -> None:
    newcomer.config.write_text(newcomer.config.read_text() + "\n[profile caf\u00e9]\nregion = eu-west-1\n")
    environ = {**newcomer.environ, "PYTHONIOENCODING": "ascii"}
    with terminal(f"kt-ascii-{os.getpid()}", environ, "--filter", "caf", program=(KEYTURN,)) as screen:
        shown = screen.shows("Profiles", "caf?", "Quit")
        assert "\\u" not in shown
        assert "\\x" not in shown
        screen.press("q")
        screen.shows("ended with 0")
