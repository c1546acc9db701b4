"""Refresh of many profiles: as each would be refreshed by itself, read once, and eight calls at a time."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from keyturn.model.errors import ChangeRefused, KeyturnError, NotFound
from keyturn.model.profile import Delivery
from keyturn.model.steps import Step, Steps
from keyturn.operations.credentials import refresh_many
from keyturn.providers import refresher
from keyturn.system.secret_channel import WaitCancelled
from tests.core.operations.conftest import Bench

CHAINED = "[profile hop-{0}]\nrole_arn = {1}\nsource_profile = ci-release\nrole_session_name = hop-{0}\n"


def wait_for_key_metadata(bench: Bench) -> None:
    """Wait for the requests that :func:`refresh_key_metadata` makes in the background."""
    deadline = time.monotonic() + 10
    while any(key.checked is None for key in bench.service.context.read().index.keys.values()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def managed(bench: Bench) -> list[str]:
    bench.adopt("ci-deploy", "personal")
    return [row.name for row in bench.service.snapshot().profiles if row.managed]


def test_each_outcome_is_that_of_a_refresh_by_itself(bench: Bench) -> None:
    names = [*managed(bench), "no-such-profile", "acme-build"]
    alone: dict[str, Any] = {}
    for name in names:
        try:
            alone[name] = bench.service.refresh(name)
        except KeyturnError as error:
            alone[name] = error.line()
    together = bench.service.refresh_many(names)
    assert [outcome.profile for outcome in together] == names
    for outcome in together:
        expected = alone[outcome.profile]
        if isinstance(expected, str):
            assert outcome.error is not None
            assert outcome.error.line() == expected
        else:
            assert outcome.refreshed is not None
            assert outcome.refreshed.delivered is expected.delivered
            assert outcome.refreshed.note == expected.note
            assert outcome.refreshed.session.key_id != expected.session.key_id
            assert outcome.refreshed.session.arn == expected.session.arn
    errors = {type(outcome.error) for outcome in together if outcome.error is not None}
    assert NotFound in errors


def test_the_sessions_are_stored_listed_and_delivered(bench: Bench) -> None:
    names = managed(bench)
    bench.service.deliver("ci-deploy", Delivery.CREDENTIALS_FILE)
    bench.service.deliver("personal", Delivery.CREDENTIALS_FILE, "other")
    outcomes = {outcome.profile: outcome for outcome in bench.service.refresh_many(names)}
    for name, section in (("ci-deploy", "ci-deploy"), ("personal", "other")):
        done = outcomes[name].refreshed
        assert done is not None
        assert f"aws_access_key_id = {done.session.key_id}" in bench.section(section)
    for row in bench.service.snapshot().profiles:
        outcome = outcomes.get(row.name)
        if outcome is not None and outcome.refreshed is not None:
            assert row.session is not None
            assert row.session.key_id == outcome.refreshed.session.key_id
            assert bench.service.context.vault.session(row.name) is not None


def test_a_session_that_was_stored_before_its_thread_returned_is_delivered(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.adopt("ci-deploy")
    bench.service.deliver("ci-deploy", Delivery.CREDENTIALS_FILE)
    is_stored = threading.Event()
    real_fetch, real_save = refresher.Refresher.fetch, refresh_many._Batch._save

    def fetch(*args: Any, **keywords: Any) -> Any:
        session = real_fetch(*args, **keywords)
        assert is_stored.wait(10)
        return session

    def save(own: Any) -> None:
        has_session = "ci-deploy" in own._store.unsaved
        real_save(own)
        if has_session:
            is_stored.set()

    monkeypatch.setattr(refresher.Refresher, "fetch", fetch)
    monkeypatch.setattr(refresh_many._Batch, "_save", save)
    monkeypatch.setattr(refresh_many, "SAVE_EVERY", 0)
    (outcome,) = bench.service.refresh_many(["ci-deploy"])
    assert outcome.refreshed is not None
    assert outcome.refreshed.session.key_id in bench.section("ci-deploy")


def test_sessions_are_stored_if_the_batch_ends_with_an_unexpected_error(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    managed(bench)
    real_fetch = refresher.Refresher.fetch
    is_fetched = threading.Event()

    def fetch(own: Any, name: str, *args: Any, **keywords: Any) -> Any:
        if name == "personal":
            assert is_fetched.wait(10)
            raise WaitCancelled
        session = real_fetch(own, name, *args, **keywords)
        is_fetched.set()
        return session

    monkeypatch.setattr(refresher.Refresher, "fetch", fetch)
    context = bench.service.context
    with pytest.raises(WaitCancelled):
        refresh_many.refresh_many(context, ["ci-deploy", "personal"])
    assert context.vault.session("ci-deploy") is not None


def test_a_source_that_could_not_be_stored_is_stored_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.adopt("ci-deploy")
    batch = refresh_many._Batch(bench.service.context, bench.service.context.read())
    session = batch._refresher.fetch("ci-release")
    vault = type(bench.service.context.vault)
    with monkeypatch.context() as patch:
        patch.setattr(vault, "change_sessions", lambda *_: raise_disk_full())
        batch._save()
        assert bench.service.context.vault.session("ci-release") is None
    batch._save()
    stored = bench.service.context.vault.session("ci-release")
    assert stored is not None
    assert stored["key_id"] == session.issued.credentials.access_key_id


def raise_disk_full() -> None:
    raise KeyturnError("Could not write the vault", "no space left on device")


def test_one_that_the_credentials_file_refuses_does_not_hold_up_the_others(bench: Bench) -> None:
    managed(bench)
    for name in ("ci-deploy", "personal"):
        bench.service.deliver(name, Delivery.CREDENTIALS_FILE)
    text = bench.credentials.read_text()
    start = text.index("[personal]")
    key_id = text[start:].split("aws_access_key_id = ")[1].split()[0]
    bench.credentials.write_text(text.replace(key_id, "AKIAFOREIGNFOREIGN12"))
    outcomes = {outcome.profile: outcome for outcome in bench.service.refresh_many(["ci-deploy", "personal"])}
    assert outcomes["ci-deploy"].refreshed is not None
    assert outcomes["ci-deploy"].refreshed.session.key_id in bench.section("ci-deploy")
    assert isinstance(outcomes["personal"].error, ChangeRefused)
    assert "AKIAFOREIGNFOREIGN12" in bench.section("personal")


def test_eight_calls_are_made_at_a_time_and_no_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.adopt("ci-deploy")
    running, most = [0], [0]
    lock = threading.Lock()
    are_all_running = threading.Barrier(refresh_many.CALLS_AT_ONCE)
    real = refresher.Refresher.fetch

    def counted(own: Any, _name: str, *args: Any, **keywords: Any) -> Any:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        are_all_running.wait(10)
        try:
            return real(own, "ci-deploy", *args, **keywords)
        finally:
            with lock:
                running[0] -= 1

    monkeypatch.setattr(refresher.Refresher, "fetch", counted)
    batch = refresh_many._Batch(bench.service.context, bench.service.context.read())
    monkeypatch.setattr(batch, "_require_refreshable", lambda _name: None)
    monkeypatch.setattr(batch, "_save", lambda: None)
    list(batch.run([f"p{number}" for number in range(2 * refresh_many.CALLS_AT_ONCE)]))
    assert most == [refresh_many.CALLS_AT_ONCE]


def test_a_hop_that_many_roles_share_is_assumed_once(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    arn = next(row.role for row in bench.service.snapshot().profiles if row.name == "ci-release") or ""
    state, account = bench.sandbox.state, arn.split(":")[4]
    hop = state.role(arn)
    assert hop is not None
    hop.may_assume = (f"arn:aws:iam::{account}:role/Hop*",)
    trust = {"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "sts:AssumeRole"}
    roles = [state.add_role(account, f"Hop{number}", [trust]).arn for number in range(6)]
    sections = (CHAINED.format(number, role) for number, role in enumerate(roles))
    bench.config.write_text(bench.config.read_text() + "".join(sections))
    hops = [f"hop-{number}" for number in range(6)]
    bench.sandbox.calls.clear()
    outcomes = bench.service.refresh_many(hops)
    assert all(outcome.refreshed is not None for outcome in outcomes)
    assert len(outcomes) == len(hops)
    assert bench.calls("AssumeRole") == 1 + len(hops)


def test_the_files_and_the_vault_are_read_a_few_times_however_many_there_are(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = managed(bench)
    assert len(names) == 4

    def readings(wanted: list[str]) -> tuple[int, int]:
        reads, decryptions = list[int](), list[int]()
        with monkeypatch.context() as patch:
            context = bench.service.context
            real_read, real_keys = type(context).read, type(context.vault).keys

            def read(*args: Any) -> Any:
                reads.append(1)
                return real_read(*args)

            def keys(*args: Any) -> Any:
                decryptions.append(1)
                return real_keys(*args)

            patch.setattr(type(context), "read", read)
            patch.setattr(type(context.vault), "keys", keys)
            patch.setattr(refresh_many, "SAVE_EVERY", 60)
            bench.service.refresh_many(wanted)
        return len(reads), len(decryptions)

    bench.service.refresh_many(names)
    wait_for_key_metadata(bench)  # it is not requested again for an hour
    few, many = readings(names[:1]), readings(names)
    assert few[0] > 0
    assert many == few


def test_a_stop_lets_calls_that_have_begun_finish_and_begins_no_other(bench: Bench) -> None:
    names = managed(bench)
    seen: list[Step] = []
    stopped = bench.service.watched(Steps(seen.append, lambda: True))
    assert stopped.refresh_many(names) == ()
    watched = bench.service.watched(Steps(seen.append))
    assert len(watched.refresh_many(names)) == len(names)
    assert seen[-1].done == len(names)


def test_failures_are_recorded_with_their_profiles(bench: Bench) -> None:
    managed(bench)
    names = ["ci-deploy", "ci-release", "ci-audit"]
    bench.sandbox.faults.refuse("AssumeRole", "AccessDenied", times=None)
    outcomes = {outcome.profile: outcome for outcome in bench.service.refresh_many(names)}
    bench.sandbox.faults.clear()
    assert outcomes["ci-deploy"].refreshed is not None
    assert isinstance(outcomes["ci-release"].error, KeyturnError)
    log = [(entry.profile, entry.event, entry.ok) for entry in bench.service.context.activity.read()]
    assert ("ci-deploy", "refresh", True) in log
    assert ("ci-release", "refresh", False) in log
    failures = {row.name: row.failure for row in bench.service.snapshot().profiles}
    assert failures["ci-deploy"] is None
    assert failures["ci-release"] is not None
    again = {outcome.profile: outcome for outcome in bench.service.refresh_many(names)}
    assert again["ci-release"].refreshed is not None
    assert next(row for row in bench.service.snapshot().profiles if row.name == "ci-release").failure is None
