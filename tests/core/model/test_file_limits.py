"""The limits on shared files, as a table."""

from __future__ import annotations

import pytest

from keyturn.model.file_limits import MAX_SECTIONS, MAX_SHARED_BYTES, MAX_SHARED_LINES, shared_file_excess

TOGETHER = "together with the other shared file it"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", None),
        (b"#" * MAX_SHARED_BYTES, None),
        (b"#" * (MAX_SHARED_BYTES + 1), "longer than 1536 KiB"),
        (b"\n" * MAX_SHARED_LINES, None),
        (b"\n" * (MAX_SHARED_LINES + 1), "more than 80000 lines"),
        (b"\r" * (MAX_SHARED_LINES + 1), "more than 80000 lines"),
        (b"[a]" * MAX_SECTIONS, None),
        (b"[a]" * (MAX_SECTIONS + 1), "more than 20000 sections"),
    ],
    ids=range(8),
)
def test_a_shared_file_has_limits(data: bytes, words: str | None) -> None:
    excess = shared_file_excess(data)
    assert excess is None if words is None else words in (excess or "")


@pytest.mark.parametrize(
    ("each", "words"),
    [
        (b"#" * (MAX_SHARED_BYTES // 2), None),
        (b"#" * (MAX_SHARED_BYTES // 2 + 1), f"{TOGETHER} is longer than 1536 KiB"),
        (b"#" * (MAX_SHARED_BYTES + 1), "it is longer than 1536 KiB"),
        (b"\n" * (MAX_SHARED_LINES // 2 + 1), f"{TOGETHER} has more than 80000 lines"),
        (b"[a]" * (MAX_SECTIONS // 2 + 1), f"{TOGETHER} has more than 20000 sections"),
    ],
    ids=range(5),
)
def test_both_shared_files_together_have_the_same_limits(each: bytes, words: str | None) -> None:
    assert shared_file_excess(each, each) == words


def test_ten_thousand_profiles_are_within_the_limits() -> None:
    arn = b"arn:aws:iam::111122223333:role/Deploy"
    section = b"[profile team-%05d]\nregion = eu-west-1\noutput = json\nrole_arn = " + arn
    data = b"".join(section % number + b"\nsource_profile = base\n\n" for number in range(10_000))
    assert shared_file_excess(data) is None
