"""The time at which the metadata of a long-term key is requested again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keyturn.model.profile import Key
from keyturn.operations.key_metadata import REFRESH_EVERY, _is_due

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("age", "is_due"),
    [
        (timedelta(0), False),
        (REFRESH_EVERY - timedelta(seconds=1), False),
        (REFRESH_EVERY, True),
        (timedelta(days=-1), True),
    ],
    ids=["just now", "recent", "old", "before the clock was set back"],
)
def test_a_check_counts_for_its_time_and_not_from_the_future(age: timedelta, is_due: bool) -> None:
    assert _is_due(Key("AKIAEXAMPLE", checked=NOW - age), NOW) == is_due


def test_a_key_that_was_never_checked_is_due() -> None:
    assert _is_due(None, NOW)
    assert _is_due(Key("AKIAEXAMPLE"), NOW)
