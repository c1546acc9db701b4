"""A session for one program: of managed and of native profiles, with at least the requested time left."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from keyturn.model.errors import KeyturnError, NeedsInteraction, NeedsMfa, NotFound, UsageError
from keyturn.model.text import from_iso
from tests.core.operations.conftest import Bench

HOUR = timedelta(hours=1)


def time_left(bench: Bench, document: str) -> timedelta:
    end = from_iso(json.loads(document)["Expiration"])
    assert end is not None
    return end - bench.service.now()


def test_one_session_serves_until_it_has_less_left_than_asked_for(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    first = bench.service.get_credentials("ci-release")
    assert bench.service.get_credentials("ci-release") == first
    assert bench.service.get_credentials("ci-release", timedelta(minutes=50)) == first
    assert bench.calls("AssumeRole") == 1
    bench.sandbox.move_clock(20 * 60)
    assert bench.service.get_credentials("ci-release") == first
    second = bench.service.get_credentials("ci-release", timedelta(minutes=50))
    assert second != first
    assert time_left(bench, second) > timedelta(minutes=58)
    assert bench.calls("AssumeRole") == 2


def test_more_than_aws_gives_is_refused_with_both_lengths(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    with pytest.raises(UsageError, match=r"has (1h|59m \d+s) left, 2h were requested"):
        bench.service.get_credentials("ci-release", 2 * HOUR)


def test_a_native_role_is_served_too_and_its_files_stay(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    before = bench.files()
    natives = {row.name for row in bench.service.snapshot().profiles if not row.managed}
    assert "personal-admin" in natives or natives
    with pytest.raises(KeyturnError, match="keyturn adopt personal"):
        bench.service.get_credentials("personal")
    assert bench.files() == before


def test_a_code_is_asked_for_once_and_serves_until_the_end(bench: Bench) -> None:
    bench.adopt("acme-alice")
    with pytest.raises(NeedsMfa):
        bench.service.get_credentials("prod-admin")
    first = bench.service.get_credentials("prod-admin", None, bench.sandbox.totp("alice"))
    assert bench.service.get_credentials("prod-admin") == first
    bench.sandbox.move_clock(50 * 60)
    second = bench.service.get_credentials("prod-admin")
    assert second != first, "the code is still good for another one"
    bench.sandbox.move_clock(50 * 60)
    assert bench.service.get_credentials("prod-admin") == second, (
        "the code is too old, nobody is there to type, and it is valid"
    )
    with pytest.raises(NeedsMfa):
        bench.service.get_credentials("prod-admin", timedelta(minutes=30))
    bench.sandbox.move_clock(11 * 60)
    with pytest.raises(NeedsMfa):
        bench.service.get_credentials("prod-admin")


def test_where_renewal_is_off_nothing_is_renewed_behind_the_persons_back(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    bench.service.set("ci-release", {"renew": "off"})
    with pytest.raises(NeedsInteraction, match="its renewal is off"):
        bench.service.get_credentials("ci-release")
    bench.service.refresh("ci-release")
    assert time_left(bench, bench.service.get_credentials("ci-release")) > timedelta(minutes=58)


def test_the_key_itself_is_returned_where_that_was_chosen(bench: Bench) -> None:
    bench.service.adopt(bench.service.plan_adopt(["personal"], session_none=True))
    document = json.loads(bench.service.get_credentials("personal", 12 * HOUR))
    assert document["AccessKeyId"].startswith("AKIA")
    assert "Expiration" not in document


def test_nobody_by_that_name_is_said(bench: Bench) -> None:
    with pytest.raises(NotFound, match="keyturn list"):
        bench.service.get_credentials("nobody")
