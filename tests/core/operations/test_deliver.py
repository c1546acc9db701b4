"""Delivery of a managed profile's session, and its withdrawal."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from keyturn.awsconfig.writer import SharedFiles
from keyturn.model.errors import (
    ChangeRefused,
    KeyturnError,
    NeedsUnlock,
    NotFound,
    UsageError,
    WriteNotConfirmed,
)
from keyturn.model.profile import Delivery, Profile, Renew
from keyturn.operations import deliver
from keyturn.operations.context import Context
from keyturn.operations.credentials import session_cache
from keyturn.profiles.inventory import Inventory
from keyturn.providers.base import FetchedSession
from keyturn.providers.refresher import Refresher
from keyturn.service import CredentialService
from keyturn.storage import managed_profiles
from keyturn.storage.index import DeliveryRecord, Index
from keyturn.storage.managed_profiles import ManagedProfile
from tests.core.operations.conftest import Bench

FILE, PROCESS, NOWHERE = Delivery.CREDENTIALS_FILE, Delivery.CREDENTIAL_PROCESS, Delivery.NOWHERE


@pytest.fixture
def managed(bench: Bench) -> Bench:
    """A bench on which `ci-deploy` is managed, with its roles `ci-release` and `ci-audit`."""
    bench.adopt("ci-deploy")
    return bench


def definition(bench: Bench, name: str = "ci-release") -> ManagedProfile:
    return bench.service.context.read().definitions[name]


def row(bench: Bench, name: str = "ci-release") -> Profile:
    return next(each for each in bench.service.snapshot().profiles if each.name == name)


def note(bench: Bench, name: str = "ci-release") -> DeliveryRecord | None:
    return bench.service.index().of(name).delivered


def own_line(bench: Bench, name: str = "ci-release") -> bool:
    """Return True if the profile's section of the config file holds its credential_process line."""
    text = bench.config.read_text().split(f"[profile {name}]\n")[1].split("\n[")[0]
    return "credential_process" in text


def session_of(bench: Bench, name: str = "ci-release") -> str | None:
    """Return the key ID of the cached session."""
    session = bench.service.index().of(name).session
    return session.key_id if session else None


def events(bench: Bench, event: str) -> list[tuple[str, str]]:
    return [
        (operation.profile, operation.result)
        for operation in bench.service.context.activity.read()
        if operation.event == event
    ]


def define(bench: Bench, name: str, **changes: object) -> None:
    """Change a definition in `profiles.toml`, as a user would."""

    def edit(table: dict[str, ManagedProfile]) -> None:
        table[name] = replace(table[name], **changes)  # type: ignore[arg-type]  # fields by name

    managed_profiles.change(bench.service.paths.profiles_file, edit)


# Deliver


def test_what_was_done_is_said_with_the_section(managed: Bench) -> None:
    messages = {
        (to, as_name): managed.service.deliver("ci-release", to, as_name)
        for to, as_name in ((FILE, None), (FILE, "short"), (PROCESS, None), (NOWHERE, None))
    }
    assert all(text.startswith("ci-release") for text in messages.values())
    assert "[ci-release]" in messages[FILE, None]
    assert "[short]" in messages[FILE, "short"]
    assert "credential_process" in messages[PROCESS, None]
    assert "not delivered" in messages[NOWHERE, None]
    assert len(set(messages.values())) == 4


def test_what_was_done_is_in_the_activity_log(managed: Bench) -> None:
    managed.service.deliver("ci-release", FILE, "short")
    managed.service.deliver("ci-release", NOWHERE)
    assert events(managed, "deliver") == [
        ("ci-release", "to credentials-file as short"),
        ("ci-release", "to nowhere"),
    ]


#: Delivery, section name, True if the section holds the process line, the section that holds the session.
WAYS: list[tuple[Delivery, str | None, bool, str | None]] = [
    (FILE, None, False, "ci-release"),
    (FILE, "short", True, "short"),
    (FILE, "default", True, "default"),
    (PROCESS, None, True, None),
    (NOWHERE, None, False, None),
]


@pytest.mark.parametrize("first", range(len(WAYS)), ids=lambda at: f"{WAYS[at][0]}-{WAYS[at][1]}")
def test_a_new_delivery_takes_the_place_of_the_old_one(managed: Bench, first: int) -> None:
    for second in (*WAYS[first + 1 :], *WAYS[:first]):
        managed.service.deliver("ci-release", *WAYS[first][:2])
        to, as_name, has_line, section = second
        managed.service.deliver("ci-release", to, as_name)
        assert own_line(managed) is has_line
        holders = [name for name in ("ci-release", "short", "default") if "ASIA" in managed.section(name)]
        assert holders == ([section] if section else [])
        noted = note(managed)
        assert (noted.section if noted else None) == section
        assert (definition(managed).delivery, definition(managed).deliver_as) == (to, as_name)
        assert row(managed).problem is None


def test_the_same_delivery_again_leaves_one_session_where_it_was(managed: Bench) -> None:
    managed.service.deliver("ci-release", FILE)
    before = managed.files()
    managed.service.deliver("ci-release", FILE)
    assert managed.files() == before


def test_a_delivered_session_is_noted_with_its_one_key_and_its_end(managed: Bench) -> None:
    managed.service.deliver("ci-release", FILE)
    noted = note(managed)
    assert noted is not None
    assert noted.key_ids == (session_of(managed),)
    assert noted.path == str(managed.credentials)
    assert noted.expires == row(managed).session.expires  # type: ignore[union-attr]  # it was delivered
    assert noted.created_section, "the section was not there before"
    assert noted.region is None, "the profile's own section has its region"


def test_another_name_gets_the_profiles_region_along_and_loses_it_with_the_session(managed: Bench) -> None:
    before = managed.files()
    managed.service.deliver("ci-release", FILE, "short")
    assert "region = eu-central-1" in managed.section("short")
    noted = note(managed)
    assert noted is not None
    assert (noted.created_section, noted.region) == (True, "eu-central-1")
    managed.service.deliver("ci-release", PROCESS)
    assert managed.files() == before


def test_a_section_that_was_there_keeps_its_own_region(managed: Bench) -> None:
    text = managed.credentials.read_text() + "\n[short]\nregion = us-west-2\n"
    managed.credentials.write_text(text)
    managed.service.deliver("ci-release", FILE, "short")
    assert "region = us-west-2" in managed.section("short")
    assert "eu-central-1" not in managed.section("short")
    noted = note(managed)
    assert noted is not None
    assert (noted.created_section, noted.region) == (False, None)
    managed.service.deliver("ci-release", PROCESS)
    assert managed.credentials.read_text() == text


def test_a_renewed_delivery_remembers_that_it_made_the_section(managed: Bench) -> None:
    before = managed.files()
    managed.service.deliver("ci-release", FILE, "short")
    managed.service.refresh("ci-release")
    noted = note(managed)
    assert noted is not None
    assert (noted.created_section, noted.region) == (True, "eu-central-1")
    managed.service.deliver("ci-release", PROCESS)
    assert managed.files() == before


def test_a_name_that_is_no_other_is_the_profiles_own(managed: Bench) -> None:
    managed.service.deliver("ci-release", FILE, "ci-release")
    assert "ASIA" in managed.section("ci-release")
    assert row(managed).problem is None


def refused(bench: Bench, kind: type[KeyturnError], operation: Callable[[], object]) -> KeyturnError:
    """Return the error of `operation`, which must change nothing."""
    files, definitions = bench.files(), bench.service.context.read().definitions
    with pytest.raises(kind) as excinfo:
        operation()
    assert bench.files() == files
    assert bench.service.context.read().definitions == definitions
    return excinfo.value


@pytest.mark.parametrize(
    ("to", "as_name"),
    [(PROCESS, "short"), (NOWHERE, "short"), (Delivery.NATIVE, None), (Delivery.NATIVE, "short")],
)
def test_what_is_no_delivery_is_refused(managed: Bench, to: Delivery, as_name: str | None) -> None:
    refused(managed, UsageError, lambda: managed.service.deliver("ci-release", to, as_name))
    assert events(managed, "deliver") == []


@pytest.mark.parametrize("name", ["a b", "profile x", "Default", "a]b", "-x"])
def test_a_name_that_some_aws_tool_would_not_find_is_refused(managed: Bench, name: str) -> None:
    refused(managed, UsageError, lambda: managed.service.deliver("ci-release", FILE, name))


def test_a_profile_that_is_not_managed_or_not_there_is_not_delivered(managed: Bench) -> None:
    error = refused(managed, NotFound, lambda: managed.service.deliver("personal", NOWHERE))
    assert "keyturn adopt personal" in error.hint
    error = refused(managed, NotFound, lambda: managed.service.deliver("gone", NOWHERE))
    assert "adopt" not in error.hint


def test_a_long_term_key_is_never_written_into_a_file(managed: Bench) -> None:
    managed.service.set("ci-deploy", {"session": "none"})
    error = refused(managed, KeyturnError, lambda: managed.service.deliver("ci-deploy", FILE))
    assert "--to credential-process" in error.hint


def test_a_section_that_another_profile_is_delivered_to_is_taken(managed: Bench) -> None:
    managed.service.deliver("ci-audit", FILE, "short")
    error = refused(managed, ChangeRefused, lambda: managed.service.deliver("ci-release", FILE, "short"))
    assert "ci-audit" in error.why
    managed.service.deliver("ci-audit", FILE, "short")


def test_the_name_of_another_managed_profile_is_taken(managed: Bench) -> None:
    refused(managed, ChangeRefused, lambda: managed.service.deliver("ci-release", FILE, "ci-audit"))


def test_a_section_with_credentials_in_the_config_file_is_taken(managed: Bench) -> None:
    error = refused(managed, ChangeRefused, lambda: managed.service.deliver("ci-release", FILE, "acme-build"))
    assert "aws_access_key_id" in error.why


def test_somebody_elses_keys_in_the_section_prevent_the_delivery(managed: Bench) -> None:
    text = managed.credentials.read_text()
    managed.credentials.write_text(f"{text}\n[ci-release]\naws_access_key_id = AKIASOMEBODYELSES\n")
    refused(managed, ChangeRefused, lambda: managed.service.deliver("ci-release", FILE))
    assert own_line(managed)
    assert managed.service.index().of("ci-release").failure is None


def _put_foreign_keys(managed: Bench) -> None:
    with managed.credentials.open("a") as file:
        file.write("\n[ci-release]\naws_access_key_id = AKIASOMEBODYELSES\n")


def _let_everybody_write(managed: Bench) -> None:
    managed.credentials.chmod(0o666)


def _deliver_to_another_file(managed: Bench) -> None:
    managed.service.deliver("ci-release", FILE, "other")
    context = managed.service.context
    record = note(managed)
    assert record is not None
    elsewhere = replace(record, path="/elsewhere/credentials")
    context.index.change(lambda index: index.update("ci-release", delivered=elsewhere))


@pytest.mark.parametrize(
    ("name", "prepare"),
    [
        ("ci-release", _put_foreign_keys),
        ("ci-release", _let_everybody_write),
        ("ci-release", _deliver_to_another_file),
        ("ci-deploy", lambda managed: managed.service.set("ci-deploy", {"session": "none"})),
    ],
    ids=["foreign keys", "writable by everybody", "in another file", "a long-term key"],
)
def test_what_will_be_refused_is_refused_before_a_passphrase_is_asked_for(
    managed: Bench, name: str, prepare: Callable[[Bench], object]
) -> None:
    prepare(managed)
    managed.service.context.vault.forget()
    with pytest.raises(KeyturnError) as excinfo:
        managed.service.deliver(name, FILE)
    assert not isinstance(excinfo.value, NeedsUnlock)


def test_a_write_that_the_disk_does_not_confirm_is_not_undone(
    managed: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SharedFiles.edit

    def unconfirmed(self: SharedFiles, *args: object, **more: object) -> object:
        real(self, *args, **more)  # type: ignore[arg-type]  # as given
        raise WriteNotConfirmed("writing", "the disk does not say so")

    monkeypatch.setattr(SharedFiles, "edit", unconfirmed)
    with pytest.raises(WriteNotConfirmed):
        managed.service.deliver("ci-release", FILE)
    assert definition(managed).delivery is FILE


def test_a_definition_that_changed_while_aws_was_asked_is_not_written_over(
    managed: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Refresher.fetch

    def interfere(self: Refresher, name: str, code: str | None = None, **options: bool) -> FetchedSession:
        found = real(self, name, code, **options)
        define(managed, "ci-release", renew=Renew.OFF)
        return found

    monkeypatch.setattr(Refresher, "fetch", interfere)
    with pytest.raises(ChangeRefused):
        managed.service.deliver("ci-release", FILE)
    assert (definition(managed).delivery, str(definition(managed).renew)) == (PROCESS, "off")


def test_a_session_is_not_put_where_the_profile_is_no_more_delivered(managed: Bench) -> None:
    desk = managed.service.context
    reading = desk.read()
    before = managed.files()
    with session_cache.fetch_to_deliver(desk, reading, "ci-release") as session:
        for name in ("ci-release", "gone"):
            deliver.write_session(desk, replace(session, name=name))
    assert managed.files() == before
    assert note(managed) is None


def test_a_line_that_is_gone_comes_back(managed: Bench) -> None:
    text = managed.config.read_text()
    lines = [line for line in text.splitlines(keepends=True) if not line.rstrip().endswith("ci-release")]
    managed.config.write_text("".join(lines))
    assert row(managed).problem is not None or not own_line(managed)
    managed.service.deliver("ci-release", PROCESS)
    assert own_line(managed)


def test_a_line_in_the_file_that_is_not_its_home_is_taken_away(managed: Bench) -> None:
    line = next(row for row in managed.config.read_text().splitlines() if row.endswith("process ci-release"))
    managed.credentials.write_text(f"{managed.credentials.read_text()}\n[ci-release]\n{line}\nregion = x\n")
    managed.service.deliver("ci-release", PROCESS)
    assert own_line(managed)
    assert managed.section("ci-release").strip() == "region = x"


def test_another_programs_line_is_left_where_a_delivery_needs_none(managed: Bench) -> None:
    managed.credentials.write_text(
        f"{managed.credentials.read_text()}\n[ci-release]\ncredential_process = tool ci-release\n"
    )
    managed.service.deliver("ci-release", NOWHERE)
    assert "credential_process = tool" in managed.section("ci-release")


# Withdraw


def past_its_end(bench: Bench) -> None:
    bench.sandbox.move_clock(3700)


def test_a_session_is_withdrawn_once_it_has_ended_and_not_before(managed: Bench) -> None:
    before = managed.files()
    managed.service.deliver("ci-release", FILE, "short")
    assert managed.service.withdraw_expired() == ()
    assert "ASIA" in managed.section("short")
    past_its_end(managed)
    assert managed.service.withdraw_expired() == ("ci-release",)
    assert managed.files()[1] == before[1]
    assert note(managed) is None
    assert events(managed, "withdraw") == [("ci-release", "expired")]
    assert managed.service.withdraw_expired() == ()


def test_a_session_renewed_before_its_withdrawal_stays(
    managed: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    managed.service.deliver("ci-release", FILE)
    past_its_end(managed)
    other, lock = managed.another(), Context.state_lock

    def renewed_before(context: Context) -> object:
        monkeypatch.setattr(Context, "state_lock", lock)
        other.refresh("ci-release")
        return lock(context)

    monkeypatch.setattr(Context, "state_lock", renewed_before)
    assert managed.service.withdraw_expired() == ()
    assert "ASIA" in managed.section("ci-release")
    assert events(managed, "withdraw") == []


def test_a_session_is_withdrawn_though_its_definition_is_lost(managed: Bench) -> None:
    managed.service.deliver("ci-release", FILE)
    managed.service.paths.profiles_file.unlink()
    past_its_end(managed)
    assert managed.service.withdraw_expired() == ("ci-release",)
    assert managed.section("ci-release") == ""


def test_a_session_is_withdrawn_though_its_note_is_lost(managed: Bench) -> None:
    managed.service.deliver("ci-release", FILE)
    managed.service.paths.index_file.unlink()
    assert managed.service.withdraw_expired() == ()
    past_its_end(managed)
    assert managed.service.withdraw_expired() == ("ci-release",)
    assert managed.section("ci-release").strip() == ""


def test_a_session_is_withdrawn_though_the_index_knows_its_profile_and_not_its_delivery(
    managed: Bench,
) -> None:
    managed.service.deliver("ci-release", FILE)
    managed.service.context.index.change(lambda index: index.update("ci-release", delivered=None))
    past_its_end(managed)
    assert managed.service.withdraw_expired() == ("ci-release",)
    assert managed.section("ci-release").strip() == ""


def test_where_nothing_was_ever_managed_there_is_nothing_to_withdraw(bench: Bench) -> None:
    before = bench.files()
    assert bench.service.withdraw_expired() == ()
    assert bench.service.withdraw_delivered() == ()
    assert bench.files() == before


def test_an_agent_that_ends_withdraws_all_that_is_delivered_noted_or_not(managed: Bench) -> None:
    managed.service.deliver("ci-audit", FILE)
    managed.service.paths.index_file.unlink()
    managed.service.deliver("ci-release", FILE)
    assert managed.service.withdraw_delivered() == ("ci-audit", "ci-release")
    assert "ASIA" not in managed.section("ci-audit") + managed.section("ci-release")
    assert set(events(managed, "withdraw")) == {
        (name, "the agent stopped") for name in ("ci-audit", "ci-release")
    }
    assert session_of(managed) is not None, "the session itself stays"
    assert managed.service.withdraw_delivered() == ()


def test_what_cannot_be_withdrawn_is_noted_and_the_others_are(
    managed: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    managed.service.deliver("ci-audit", FILE)
    managed.service.deliver("ci-release", FILE)
    real = deliver.withdraw

    def fails_for_audit(desk: Context, inventory: Inventory, name: str) -> bool:
        if name == "ci-audit":
            raise KeyturnError("the credentials file", "it is busy")
        return real(desk, inventory, name)

    monkeypatch.setattr(deliver, "withdraw", fails_for_audit)
    past_its_end(managed)
    assert managed.service.withdraw_expired() == ("ci-release",)
    failure = managed.service.index().of("ci-audit").failure
    assert failure is not None
    assert "it is busy" in failure.line


def test_a_file_that_is_gone_has_nothing_to_withdraw_from(managed: Bench) -> None:
    managed.service.deliver("ci-release", FILE)
    managed.credentials.unlink()
    managed.service.deliver("ci-release", PROCESS)
    assert note(managed) is None
    assert not managed.credentials.exists()


def test_the_section_and_not_the_index_says_when_a_session_ends(managed: Bench) -> None:
    managed.service.deliver("ci-release", FILE)

    def record_end(expires: datetime | None) -> None:
        def edit(index: Index) -> None:
            noted = index.of("ci-release").delivered
            assert noted is not None
            index.update("ci-release", delivered=replace(noted, expires=expires))

        managed.service.context.index.change(edit)

    record_end(datetime(2020, 1, 1, tzinfo=UTC))
    assert managed.service.withdraw_expired() == ()
    record_end(None)
    past_its_end(managed)
    assert managed.service.withdraw_expired() == ("ci-release",)


def test_a_session_whose_section_states_no_end_is_not_withdrawn(managed: Bench) -> None:
    managed.service.deliver("ci-release", FILE)
    lines = managed.credentials.read_text().splitlines(keepends=True)
    managed.credentials.write_text("".join(line for line in lines if "aws_expiration" not in line))
    past_its_end(managed)
    assert managed.service.withdraw_expired() == ()


def test_keys_that_somebody_put_in_the_place_of_ours_are_left(managed: Bench) -> None:
    managed.service.deliver("ci-release", FILE)
    text = managed.credentials.read_text()
    managed.credentials.write_text(text.replace(str(session_of(managed)), "AKIASOMEBODYELSES"))
    managed.service.deliver("ci-release", PROCESS)
    assert "AKIASOMEBODYELSES" in managed.section("ci-release")


def test_an_earlier_session_of_ours_that_is_there_again_is_withdrawn(managed: Bench) -> None:
    managed.service.deliver("ci-release", FILE)
    first = managed.credentials.read_bytes()
    managed.service.refresh("ci-release")
    managed.credentials.write_bytes(first)
    managed.service.deliver("ci-release", PROCESS)
    assert "ASIA" not in managed.section("ci-release")


def test_an_earlier_session_of_ours_that_is_there_again_is_written_over(managed: Bench) -> None:
    managed.service.deliver("ci-release", FILE)
    first = managed.credentials.read_bytes()
    managed.service.refresh("ci-release")
    managed.credentials.write_bytes(first)
    managed.service.refresh("ci-release")
    assert str(session_of(managed)) in managed.section("ci-release")


# Stop


@pytest.mark.parametrize("to", [FILE, PROCESS])
def test_a_session_that_is_stopped_is_withdrawn_and_forgotten(managed: Bench, to: Delivery) -> None:
    managed.service.deliver("ci-release", to)
    json.loads(managed.service.credential_process("ci-release"))
    messages = managed.service.stop("ci-release")
    assert messages.startswith("ci-release")
    assert ("withdrawn" in messages) is (to is FILE)
    found = managed.service.index().of("ci-release")
    assert (found.session, found.delivered, found.last_use) == (None, None, None)
    assert found.stopped is not None
    assert "ASIA" not in managed.section("ci-release")
    assert managed.service.context.vault.session("ci-release") is None
    result = "withdrawn and deleted" if to is FILE else "deleted"
    assert events(managed, "stop") == [("ci-release", result)]


def test_without_a_session_there_is_nothing_to_stop(managed: Bench) -> None:
    messages = managed.service.stop("ci-audit")
    assert "no session" in messages
    assert events(managed, "stop") == []


def test_a_session_whose_note_is_lost_is_withdrawn_by_stop(managed: Bench) -> None:
    managed.service.deliver("ci-release", FILE)
    managed.service.paths.index_file.unlink()
    assert "withdrawn" in managed.service.stop("ci-release")
    assert events(managed, "stop") == [("ci-release", "withdrawn and deleted")]


def test_only_a_profile_that_is_there_can_be_stopped(managed: Bench) -> None:
    with pytest.raises(NotFound):
        managed.service.stop("gone")


def test_a_stop_names_a_credentials_file_that_cannot_be_read(managed: Bench) -> None:
    managed.service.deliver("ci-release", FILE)
    with managed.credentials.open("a") as file:
        file.write("broken line\n")
    before = managed.credentials.read_bytes()
    with pytest.raises(KeyturnError):
        managed.service.stop("ci-release")
    assert managed.credentials.read_bytes() == before
    assert managed.service.context.profile_state("ci-release").delivered is not None
    past_its_end(managed)
    assert managed.service.withdraw_expired() == ()
    assert managed.service.context.profile_state("ci-release").failure is not None


def test_a_stop_names_another_credentials_file_that_holds_the_session(managed: Bench, tmp_path: Path) -> None:
    managed.service.deliver("ci-release", FILE)
    other = tmp_path / "credentials"
    environ = {**managed.service.context.environ, "AWS_SHARED_CREDENTIALS_FILE": str(other)}
    elsewhere = CredentialService.from_environ(environ, use_agent=False)
    with pytest.raises(ChangeRefused, match="AWS_SHARED_CREDENTIALS_FILE="):
        elsewhere.stop("ci-release")
    with pytest.raises(ChangeRefused, match="AWS_SHARED_CREDENTIALS_FILE="):
        elsewhere.deliver("ci-release", PROCESS)
    assert managed.service.context.profile_state("ci-release").delivered is not None
