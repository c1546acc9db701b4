"""A missing program skips a test by name, and fails it where all programs are required."""

from __future__ import annotations

import pytest

from tests.support.needs import needs


def test_a_program_that_is_there_is_found() -> None:
    assert needs("sh").endswith("/sh")


def test_a_missing_one_skips_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEYTURN_REQUIRE_ALL", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(pytest.skip.Exception, match="libsecret-tools"):
        needs("secret-tool")


def test_a_missing_one_fails_where_all_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYTURN_REQUIRE_ALL", "1")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(pytest.fail.Exception, match="age is not installed"):
        needs("age")
