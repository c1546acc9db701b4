"""The words of an error: its hint in parts, in the command line's words and in another front end's."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Callable

import pytest

from keyturn.model.errors import RUN, THEN_RUN, Hint, KeyturnError, NeedsMfa, Parts, Remedy, words

UNDO = Remedy("rotate", "ci", "--undo")


@pytest.mark.parametrize(
    ("remedy", "command"),
    [
        (Remedy("list"), "keyturn list"),
        (Remedy("vault unlock"), "keyturn vault unlock"),
        (Remedy("refresh", "ci"), "keyturn refresh ci"),
        (UNDO, "keyturn rotate ci --undo"),
        (Remedy("rotate", "ci", "--drop 9ZLM"), "keyturn rotate ci --drop 9ZLM"),
        (Remedy("set", "ci", "policy=FILE"), "keyturn set ci policy=FILE"),
        (Remedy("vault init", flag="--slot keyring"), "keyturn vault init --slot keyring"),
        (Remedy("refresh", "two words"), "keyturn refresh 'two words'"),
        (Remedy("adopt", "$(id)"), "keyturn adopt '$(id)'"),
    ],
)
def test_a_remedy_is_a_command(remedy: Remedy, command: str) -> None:
    assert remedy.command() == command


@pytest.mark.parametrize(
    ("hint", "sentence", "remedies"),
    [
        ("", "", ()),
        ("Check the disk", "Check the disk", ()),
        (UNDO, "Run: keyturn rotate ci --undo", (UNDO,)),
        (("To undo: ", UNDO), "To undo: keyturn rotate ci --undo", (UNDO,)),
        (
            ("Free disk space, then ", THEN_RUN, Remedy("rotate", "ci", "--resume"), "; or undo: ", UNDO),
            "Free disk space, then run: keyturn rotate ci --resume; or undo: keyturn rotate ci --undo",
            (Remedy("rotate", "ci", "--resume"), UNDO),
        ),
        (
            ("Nothing was overwritten. ", RUN, Remedy("vault status")),
            "Nothing was overwritten. Run: keyturn vault status",
            (Remedy("vault status"),),
        ),
    ],
)
def test_a_hint_is_a_sentence_with_commands(hint: Hint, sentence: str, remedies: tuple[Remedy, ...]) -> None:
    error = KeyturnError("It failed", "", hint)
    assert (error.hint, error.remedies) == (sentence, remedies)
    assert error.line() == (f"It failed. {sentence}" if sentence else "It failed.")


def test_a_hint_can_be_replaced() -> None:
    error = KeyturnError("It failed", "because", UNDO)
    error.hint = "Try again"
    assert (error.hint, error.remedies) == ("Try again", ())
    error.hint = UNDO
    assert (error.line(), error.remedies) == ("It failed: because. Run: keyturn rotate ci --undo", (UNDO,))


def test_a_front_end_words_the_commands() -> None:
    def wording(parts: Parts) -> str:
        return "".join(part if isinstance(part, str) else f"[{part.flag}]" for part in parts)

    assert KeyturnError("It failed", "", ("To undo: ", UNDO)).line(wording) == "It failed. To undo: [--undo]"
    assert KeyturnError("It failed", "", UNDO).line(lambda _: "") == "It failed."


@pytest.mark.parametrize("name", ["$(id)", "a;b", "it's", "\x1b[31mred", "\u202egnp", "line\nbreak", "-v"])
def test_a_hostile_name_in_a_remedy_is_escaped_like_the_rest_of_the_line(name: str) -> None:
    remedy, sentence = Remedy("refresh", name), f"Run: keyturn refresh {shlex.quote(name)}"
    line = KeyturnError("It failed", "", remedy).line()
    assert line == KeyturnError("It failed", "", sentence).line()
    assert line.isprintable()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copy_of_an_error_keeps_its_hint(duplicate: Callable[[NeedsMfa], NeedsMfa]) -> None:
    error = NeedsMfa("a", "b", ("To undo: ", UNDO), profile="ci", serial="GAHT")
    twin = duplicate(error)
    assert (type(twin), vars(twin), twin.line()) == (NeedsMfa, vars(error), error.line())
    assert words(twin.hint_parts) == error.hint


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (KeyturnError("Could not lock"), "Could not lock."),
        (KeyturnError("Could not lock", "it is busy."), "Could not lock: it is busy."),
        (KeyturnError("Did you mean 'rotate'?"), "Did you mean 'rotate'?"),
        (
            KeyturnError("Did you mean 'rotate'?", "", Remedy("list")),
            "Did you mean 'rotate'? Run: keyturn list",
        ),
    ],
)
def test_a_line_ends_each_sentence_once(error: KeyturnError, line: str) -> None:
    assert error.line() == line


def test_a_sentence_is_added_to_no_hint() -> None:
    error = KeyturnError("It failed")
    error.add_hint("To undo: ", UNDO)
    assert error.line() == "It failed. To undo: keyturn rotate ci --undo"
