"""Input of a terminal as keys."""

from __future__ import annotations

import pytest
from textual import events

from keyturn_tui.terminal.keys import EscapeFirst


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("\x1bj", ["escape", "j"]),
        ("\x1b/", ["escape", "slash"]),
        ("\x1b\r", ["escape", "enter"]),
        ("\x1bjk", ["escape", "j", "k"]),
        ("\x1b[B", ["down"]),
        ("j\x1b", ["j", "escape"]),
        ("\x1b\x1b[B", ["escape", "down"]),
    ],
)
def test_escape_and_a_key_that_arrive_together_are_two_keys(sent: str, keys: list[str]) -> None:
    parser = EscapeFirst()
    heard = [*parser.feed(sent), *parser.feed("")]
    assert [event.key for event in heard if isinstance(event, events.Key)] == keys
