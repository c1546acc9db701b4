"""Operations beside each other and beside other programs: nothing is lost, overwritten or given to the wrong
caller."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn.model.errors import ChangeRefused, FileBusy, FileChanged, KeyturnError, NotFound
from keyturn.model.profile import Delivery
from keyturn.operations import adopt, configure, deliver, release
from keyturn.system.shared_file import Timing
from tests.core.operations.conftest import Bench

NEW_KEY = "aws_access_key_id = AKIANEWNEWNEWNEWNEW2\naws_secret_access_key = " + "N" * 40 + "\n"


@pytest.fixture
def writer_timing() -> Callable[[], Timing]:
    return Timing


def identity(bench: Bench, profile: str) -> str:
    """Return the ARN that boto3 gets with the credentials of a document or of the files."""
    import boto3

    document = json.loads(bench.service.credential_process(profile))
    session = boto3.Session(
        document["AccessKeyId"],
        document["SecretAccessKey"],
        document["SessionToken"],
        region_name="us-east-1",
    )
    return str(session.client("sts").get_caller_identity()["Arn"])


def replace_key(text: str, name: str) -> str:
    """Return the credentials file with another key in one section."""
    before, header, rest = text.partition(f"[{name}]\n")
    after = rest.split("\n", 2)[2]
    return before + header + NEW_KEY + after


def test_a_key_that_changes_while_it_is_adopted_is_not_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = adopt._store_in_vault

    def interfere(*args: Any) -> None:
        sealed(*args)
        bench.credentials.write_text(replace_key(bench.credentials.read_text(), "personal"))

    monkeypatch.setattr(adopt, "_store_in_vault", interfere)
    with pytest.raises(FileChanged):
        bench.adopt("personal")
    assert NEW_KEY in bench.credentials.read_text()
    assert not bench.service.snapshot().profiles[0].managed
    assert b"credential-process personal" not in bench.config.read_bytes()


def test_a_key_put_beside_our_line_is_not_written_over_by_release(bench: Bench) -> None:
    bench.adopt("personal")
    bench.credentials.write_text(
        bench.credentials.read_text().replace("[personal]\n", f"[personal]\n{NEW_KEY}")
    )
    with pytest.raises(ChangeRefused):
        bench.release("personal")
    assert NEW_KEY in bench.credentials.read_text()
    assert bench.service.context.vault.key("key/personal")


def test_release_and_adopt_at_once_wait_for_each_other(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.adopt("personal")
    emptied = release._remove_from_vault
    refused: list[Exception] = []
    other = bench.another()
    monkeypatch.setattr("keyturn.operations.context.STATE_LOCK_SECONDS", 0.1)

    def interfere(*args: Any) -> None:
        try:
            other.adopt(other.plan_adopt(["personal"]))
        except KeyturnError as error:
            refused.append(error)
        emptied(*args)

    monkeypatch.setattr(release, "_remove_from_vault", interfere)
    bench.release("personal")
    assert [type(error) for error in refused] == [FileBusy]
    assert "aws_secret_access_key" in bench.section("personal")


def test_a_refresh_under_way_does_not_deliver_to_a_profile_released_meanwhile(bench: Bench) -> None:
    before = bench.files()
    bench.adopt("ci-deploy")
    bench.service.deliver("ci-release", Delivery.CREDENTIALS_FILE)
    real = bench.service.context.aws

    def slow(*args: Any, **options: Any) -> Any:
        client = real(*args, **options)
        assume = client.assume_role

        def interfere(*inner: Any) -> Any:
            other = bench.another()
            other.release(
                other.plan_release(["ci-deploy", "ci-release", "ci-audit"]), recovery_key=bench.recovery_key
            )
            return assume(*inner)

        object.__setattr__(client, "assume_role", interfere)
        return client

    bench.service.context = replace(bench.service.context, aws=slow)
    with pytest.raises(FileChanged):
        bench.service.refresh("ci-release")
    assert bench.files() == before
    assert bench.service.context.vault.session("ci-release") is None


def test_many_refreshes_of_a_delivered_profile_leave_one_session_and_can_go_on(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    bench.service.deliver("ci-release", Delivery.CREDENTIALS_FILE)
    processes = [bench.another() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda service: service.refresh("ci-release"), processes))
    bench.service.refresh("ci-release")
    assert bench.section("ci-release").count("aws_access_key_id") == 1
    bench.sandbox.move_clock(3700)
    assert bench.service.withdraw_expired() == ("ci-release",)
    assert bench.section("ci-release") == ""


def test_many_callers_of_a_cold_profile_cause_one_call(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    bench.sandbox.calls.clear()
    processes = [bench.another() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        documents = list(pool.map(lambda service: service.credential_process("ci-release"), processes))
    assert len(set(documents)) == 1
    assert bench.calls("AssumeRole") == 1


def test_without_its_index_a_delivery_is_still_known_renewed_withdrawn_and_released(bench: Bench) -> None:
    before = bench.files()
    bench.adopt("ci-deploy")
    bench.service.deliver("ci-deploy", Delivery.CREDENTIALS_FILE)
    for damage in (b"", b"{", b'{"version": "2"}'):
        bench.service.paths.index_file.write_bytes(damage)
        bench.service.refresh("ci-deploy")
    assert bench.section("ci-deploy").count("aws_session_token") == 1
    bench.service.paths.index_file.unlink()
    bench.release("ci-deploy", "ci-release", "ci-audit")
    assert bench.files() == before


def test_a_section_of_another_profile_is_not_taken_over(bench: Bench) -> None:
    bench.adopt("ci-deploy", "personal")
    adopted = bench.files()
    for name in ("personal", "acme-build", "old-vpn", "ci-release"):
        with pytest.raises(ChangeRefused):
            bench.service.deliver("ci-deploy", Delivery.CREDENTIALS_FILE, name)
        assert bench.files() == adopted, name


def test_a_role_with_keys_of_its_own_is_signed_by_its_source_as_aws_tools_do(bench: Bench) -> None:
    text = bench.config.read_text()
    keys = text.split("[profile acme-build]")[1].split("region")[0]
    bench.config.write_text(
        f"{text}\n[profile both]\nrole_arn = arn:aws:iam::444455556666:role/ReleaseManager\n"
        f"source_profile = ci-deploy\nregion = eu-west-1{keys}\n"
    )
    before = bench.files()
    bench.adopt("both")
    assert identity(bench, "both").endswith("assumed-role/ReleaseManager/keyturn-both")
    bench.release("both")
    assert bench.files() == before


def test_keys_that_are_not_an_iam_users_are_not_adopted(bench: Bench) -> None:
    bench.credentials.write_text(
        f"{bench.credentials.read_text()}\n[minio]\naws_access_key_id = "
        "minioadmin\naws_secret_access_key = secret\n"
        "\n[token]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = "
        "s\naws_session_token = t\n"
    )
    before = bench.files()
    for name in ("minio", "token"):
        with pytest.raises(KeyturnError):
            bench.service.plan_adopt([name])
    assert bench.files() == before


def test_a_session_of_what_a_profile_was_before_is_not_returned(bench: Bench) -> None:
    bench.adopt("acme-build")
    first = identity(bench, "acme-hub")
    assert "role/Hub" in first.replace("assumed-role", "role")
    profiles = bench.service.paths.profiles_file
    profiles.write_text(profiles.read_text().replace(":role/Hub", ":role/Batch"))
    assert "assumed-role/Batch" in identity(bench, "acme-hub")


def test_what_is_still_valid_is_returned_when_it_cannot_be_renewed(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    document = bench.service.credential_process("ci-release")
    bench.sandbox.move_clock(50 * 60)
    bench.sandbox.faults.refuse("AssumeRole", "AccessDenied", "no", times=5)
    assert bench.service.credential_process("ci-release") == document
    bench.sandbox.move_clock(11 * 60)
    with pytest.raises(KeyturnError):
        bench.service.credential_process("ci-release")


def test_stop_and_nowhere_need_no_open_vault(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    bench.service.deliver("ci-release", Delivery.CREDENTIALS_FILE)
    bench.service.credential_process("ci-deploy")
    bench.service.context.vault.forget()
    assert "withdrawn" in bench.service.stop("ci-release")
    assert bench.section("ci-release") == ""
    bench.service.deliver("ci-release", Delivery.NOWHERE)
    bench.service.stop("ci-deploy")
    bench.service.unlock_here(recovery_key=bench.recovery_key)
    bench.sandbox.calls.clear()
    bench.service.credential_process("ci-deploy")
    assert bench.calls("GetSessionToken") == 1, "what was stopped is not served from the cache"


def test_definitions_that_cannot_be_read_are_not_none(bench: Bench) -> None:
    bench.adopt("personal")
    bench.service.paths.profiles_file.write_text("version = 1\nprofiles = []\n")
    for operation in (
        lambda: bench.service.credential_process("personal"),
        lambda: bench.service.refresh("personal"),
        lambda: bench.service.deliver("personal", Delivery.NOWHERE),
    ):
        with pytest.raises(ChangeRefused, match="profiles"):
            operation()
    assert any(problem.path.endswith("profiles.toml") for problem in bench.service.snapshot().problems)


def test_a_profile_whose_definition_is_lost_is_given_back_from_the_vault(bench: Bench) -> None:
    before = bench.files()
    bench.adopt("personal")
    bench.service.paths.profiles_file.unlink()
    with pytest.raises(NotFound, match="keyturn release personal"):
        bench.service.credential_process("personal")
    bench.release("personal")
    assert bench.files() == before


def test_a_failed_adoption_that_cannot_be_put_back_stays_managed_and_can_be_released(bench: Bench) -> None:
    def loses(_names: Iterable[str]) -> Iterator[tuple[str, str]]:
        bench.credentials.write_text(bench.credentials.read_text() + "\n# touched\n")
        yield "shared-credentials-file", ""

    good = bench.service.context
    bench.service.context = replace(good, resolved_providers=loses)
    with pytest.raises(ChangeRefused, match="shared-credentials-file"):
        bench.adopt("personal")
    bench.service.context = good
    bench.release("personal")
    assert "aws_secret_access_key" in bench.section("personal")


def test_a_refused_duration_is_remembered_and_said(bench: Bench) -> None:
    bench.config.write_text(
        bench.config.read_text().replace("role_session_name = ci-release", "duration_seconds = 36000")
    )
    bench.adopt("ci-deploy")
    assert "one hour" in bench.service.refresh("ci-release").note
    bench.sandbox.calls.clear()
    assert bench.service.refresh("ci-release").note
    assert bench.calls("AssumeRole") == 1


def test_a_copy_of_the_secret_that_stays_behind_is_named(bench: Bench) -> None:
    secret = bench.section("personal").split("aws_secret_access_key = ")[1].split()[0]
    bench.config.write_text(f"{bench.config.read_text()}# old: {secret}\n")
    plan = bench.service.plan_adopt(["personal"])
    assert any("stays there" in warning for warning in plan.warnings)
    assert secret not in repr(plan)


def test_time_is_the_wall_clocks(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    first = json.loads(bench.service.credential_process("ci-release"))
    bench.sandbox.move_clock(timedelta(hours=8).total_seconds())
    second = json.loads(bench.service.credential_process("ci-release"))
    assert first["AccessKeyId"] != second["AccessKeyId"], (
        "a laptop slept; what ended meanwhile is not handed out"
    )


def test_what_the_vault_no_longer_holds_is_not_released_as_if_it_were(bench: Bench) -> None:
    bench.adopt("personal")
    bench.service.context.vault.change_keys(lambda entries: entries.clear())
    before = bench.files()
    with pytest.raises(ChangeRefused, match="does not contain its original settings") as refused:
        bench.release("personal")
    assert str(bench.config) in refused.value.hint
    assert bench.files() == before
    bench.config.write_bytes(before[0].replace(_line_for(before[0], b"personal"), b""))
    bench.release("personal")
    assert not next(row for row in bench.service.snapshot().profiles if row.name == "personal").managed


def _line_for(config: bytes, name: bytes) -> bytes:
    return next(
        line for line in config.splitlines(keepends=True) if line.rstrip().endswith(b"process " + name)
    )


def test_a_release_writes_to_the_persons_own_files_only(bench: Bench, tmp_path: Path) -> None:
    bench.adopt("personal")
    elsewhere = tmp_path / "elsewhere"

    def move(entries: dict[str, Any]) -> None:
        for entry in entries.values():
            for table in entry.get("sections", ()):
                table["path"] = str(elsewhere)

    bench.service.context.vault.change_keys(move)
    with pytest.raises(ChangeRefused, match="AWS tools now read"):
        bench.release("personal")
    assert not elsewhere.exists()
    bench.config.unlink()
    bench.credentials.unlink()
    with pytest.raises(ChangeRefused, match="AWS tools now read"):
        bench.release("personal")
    assert not elsewhere.exists()


def test_a_setting_is_applied_to_the_definition_as_it_is_under_the_lock(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.adopt("personal")
    check, other = configure.check, bench.another()

    def interfere(*args: Any) -> None:
        check(*args)
        monkeypatch.setattr(configure, "check", check)
        other.set("personal", {"renew": "off"})

    monkeypatch.setattr(configure, "check", interfere)
    changed = bench.service.set("personal", {"rotation_days": "30"})
    assert changed.keys == ("rotation_days",)
    settings = bench.service.settings("personal")
    assert (settings["renew"], settings["rotation_days"]) == ("off", 30)


@pytest.mark.parametrize("to", [Delivery.CREDENTIALS_FILE, Delivery.CREDENTIAL_PROCESS])
def test_a_delivery_replaces_the_one_that_is_there_under_the_lock(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, to: Delivery
) -> None:
    bench.adopt("personal")
    check, other = deliver.check, bench.another()

    def interfere(*args: Any) -> Any:
        result = check(*args)
        monkeypatch.setattr(deliver, "check", check)
        other.deliver("personal", Delivery.NOWHERE)
        return result

    monkeypatch.setattr(deliver, "check", interfere)
    bench.service.deliver("personal", to)
    definition = bench.service.context.read().definitions["personal"]
    assert definition.delivery is to
    assert (b"credential-process personal" in bench.config.read_bytes()) is (
        to is Delivery.CREDENTIAL_PROCESS
    )


def test_others_do_not_wait_while_release_checks_the_passphrase(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.adopt("personal")
    confirm, other, free = release.confirm, bench.another(), []
    monkeypatch.setattr("keyturn.operations.context.STATE_LOCK_SECONDS", 0.1)

    def look(*args: Any) -> None:
        with other.context.state_lock():
            free.append(True)
        confirm(*args)

    monkeypatch.setattr(release, "confirm", look)
    bench.release("personal")
    assert free == [True]
