"""The corpus is as described, and `safe` keeps its promise for every string in it and for every character."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterable

import pytest
from rich.cells import cell_len

from keyturn.model.text import cells, is_safe, safe
from keyturn_tui.rendering.profile_cells import fit, wrap
from keyturn_tui.terminal.output_filters import neutralize
from tests.adversarial.hostile_input.corpus import BY_KIND, MESSAGES, NAMES
from tests.adversarial.hostile_input.harmless_output import foreign


def test_there_are_at_least_500_different_strings_of_every_kind() -> None:
    assert len(NAMES) >= 500
    assert len(set(MESSAGES)) == len(MESSAGES) > len(NAMES)
    assert all(len(kind) >= 5 for kind in BY_KIND.values())
    assert max(map(len, MESSAGES)) >= 1 << 20


def test_safe_leaves_nothing_foreign_in_any_string_and_a_second_time_changes_nothing() -> None:
    for text in MESSAGES:
        shown = safe(text)
        assert not foreign(shown), ascii(text[:50])
        assert "\n" not in shown
        assert safe(shown, limit=len(shown)) == shown
        assert is_safe(shown)


def check_characters(codes: Iterable[int]) -> None:
    """Assert that the output of `safe` is harmless and has the same width in the verbs' table and in
    Textual's layout."""
    for code in codes:
        text = f"a{chr(code)}"
        shown, last = safe(text), neutralize(text)
        assert not foreign(shown), hex(code)
        assert not foreign(last), hex(code)
        assert cell_len(last) == cell_len(text), hex(code)
        assert cells(shown) == cell_len(shown), hex(code)


def test_no_character_gets_through_that_can_do_harm_or_shift_others() -> None:
    check_characters(
        (
            *range(0x3400),
            *range(0x3400, sys.maxunicode, 23),
            *range(0xFE00, 0x10000),
            *range(0xE0000, 0xE0200),
        )
    )


@pytest.mark.campaign
def test_no_character_that_there_is_gets_through_if_it_can_do_harm_or_shift_others(
    record_property: Callable[[str, object], None],
) -> None:
    check_characters(range(sys.maxunicode + 1))
    record_property("hostile: characters looked at one by one", sys.maxunicode + 1)


def test_what_differs_before_differs_after_unless_only_a_blank_does() -> None:
    """Two names that differ only in invisible characters are distinguishable."""
    blanks = {ord(ch): " " for text in NAMES for ch in text if unicodedata.category(ch) == "Zs"}
    seen: dict[str, str] = {}
    for text in NAMES:
        if len(text) > 100:
            continue
        other = seen.setdefault(safe(text), text)
        assert other.translate(blanks) == text.translate(blanks) or "\\" in text + other, (other, text)


def test_a_cell_of_the_list_and_a_line_of_the_detail_keep_their_width() -> None:
    for text in MESSAGES:
        for width in (1, 2, 9, 20):
            assert cell_len(fit(text, width)) == width
            assert not foreign(fit(text, width))
        assert all(cell_len(line) <= 20 for line in wrap(text[:4000], 20)), ascii(text[:50])
