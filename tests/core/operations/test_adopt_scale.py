"""Operations on thousands of profiles: the number of file reads must not depend on the number of profiles."""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import pytest

from keyturn.awsconfig.parser import parse
from keyturn.model.errors import FileChanged, Stopped
from keyturn.model.steps import Step, Steps
from keyturn.operations import adopt_warnings
from tests.core.operations.conftest import PASSPHRASE, Bench


def _count_parses(bench: Bench, monkeypatch: pytest.MonkeyPatch, more: int) -> int:
    config = bench.config
    other_profiles = b"".join(b"\n[profile more-%d]\nregion = eu-west-1\n" % number for number in range(more))
    config.write_bytes(config.read_bytes() + other_profiles)
    bench.adopt("ci-deploy")
    calls = []

    def counted(*args: Any) -> Any:
        calls.append(args[1:])
        return parse(*args)

    monkeypatch.setattr("keyturn.awsconfig.parser.parse", counted)
    bench.service.plan_release(["ci-deploy"])
    monkeypatch.undo()
    return len(calls)


@pytest.mark.parametrize("more", [1, 300])
def test_a_release_reads_a_file_anew_a_few_times_however_many_profiles_it_has(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    assert _count_parses(bench, monkeypatch, more) < 20


class Readings:
    """Counts of one operation: parsed files, botocore sessions, decryptions of the vault, writes."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: dict[str, int] = {}
        smallest = min(len(data) for data in bench.files()) // 2
        self._count(monkeypatch, "keyturn.awsconfig.parser.parse", lambda data, *_: len(data) > smallest)
        self._count(monkeypatch, "keyturn.awsconfig.loader.parse", lambda data, *_: len(data) > smallest)
        self._count(monkeypatch, "botocore.configloader.raw_config_parse", lambda *_: True)
        self._count(monkeypatch, "keyturn.vault.files.read_keys", lambda *_: True)
        self._count(monkeypatch, "keyturn.system.files.replace", lambda *_: True)
        self._count(monkeypatch, "keyturn.awsconfig.writer.Replacement", lambda *_: True)

    def _count(self, monkeypatch: pytest.MonkeyPatch, name: str, counts: Any) -> None:
        module, _, attribute = name.rpartition(".")
        real = getattr(importlib.import_module(module), attribute)

        def counted(*args: Any, **keywords: Any) -> Any:
            if counts(*args):
                self.counts[name] = self.counts.get(name, 0) + 1
            return real(*args, **keywords)

        monkeypatch.setattr(name, counted)


def _readings_of_a_batch(bench: Bench, monkeypatch: pytest.MonkeyPatch, names: list[str]) -> dict[str, int]:
    """Adopt and release profiles, and return what was read."""
    before = bench.files()
    with monkeypatch.context() as patch:
        patch.setattr("keyturn.operations.key_metadata.refresh_key_metadata", lambda *_, **__: None)
        readings = Readings(bench, patch)
        bench.adopt(*names)
        bench.release(*names)
    assert bench.files() == before
    return readings.counts


def test_a_batch_reads_and_writes_no_more_than_one_profile(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = bench.add_plaintext_keys(40)
    one = _readings_of_a_batch(bench, monkeypatch, names[:1])
    many = _readings_of_a_batch(bench, monkeypatch, names)
    assert one["keyturn.vault.files.read_keys"] > 0
    assert one["keyturn.awsconfig.writer.Replacement"] == 4
    assert many == one


def test_a_stopped_adoption_keeps_what_was_prepared_and_can_be_gone_on_with(bench: Bench) -> None:
    names = bench.add_plaintext_keys(10)
    before = bench.files()
    service = bench.service
    plan = service.plan_adopt(names)
    seen: list[Step] = []
    stopped = service.watched(Steps(seen.append, lambda: len(seen) == 4))
    assert stopped.adopt(plan) == tuple(names[:4])
    assert seen[3] == Step("adopting", 3, 10, names[3])
    assert {step.doing for step in seen} == {"adopting", "verifying"}
    bench.adopt(*names[4:])

    released = service.plan_release(names)
    count = itertools.count()
    some = service.watched(Steps(is_stopped=lambda: next(count) == 3)).release(released, PASSPHRASE)
    assert some == tuple(names[-3:])
    bench.release(*names[:-3])
    assert bench.files() == before


def test_an_act_stopped_before_its_first_profile_changes_nothing(bench: Bench) -> None:
    names = bench.add_plaintext_keys(3)
    before = bench.files()
    stopped = bench.service.watched(Steps(is_stopped=lambda: True))
    with pytest.raises(Stopped):
        stopped.adopt(bench.service.plan_adopt(names))
    assert bench.files() == before
    assert bench.service.context.read().definitions.keys().isdisjoint(names)
    bench.adopt(*names)
    adopted = bench.files()
    with pytest.raises(Stopped):
        stopped.release(bench.service.plan_release(names), PASSPHRASE)
    assert bench.files() == adopted


def test_a_plan_stays_good_while_its_own_change_is_the_same(bench: Bench) -> None:
    names = bench.add_plaintext_keys(3)
    before = bench.files()
    plans = [bench.service.plan_adopt([name]) for name in names]
    for plan in plans:
        bench.service.adopt(plan)
    releases = [bench.service.plan_release([name]) for name in names]
    for plan in releases:
        bench.service.release(plan, PASSPHRASE)
    assert bench.files() == before


def test_a_plan_whose_own_change_is_another_one_is_refused(bench: Bench) -> None:
    (name,) = bench.add_plaintext_keys(1)
    plan = bench.service.plan_adopt([name])
    bench.credentials.write_text(
        bench.credentials.read_text().replace(f"[{name}]\n", f"[{name}]\nmfa_serial = arn:aws:iam::1:mfa/x\n")
    )
    with pytest.raises(FileChanged):
        bench.service.adopt(plan)


def test_the_copies_of_many_keys_are_found_in_one_pass() -> None:
    keys = {
        f"p{number}": {"secret": f"{number:08d}wJalrXUtnFEMI/K7MDENG+bPxRfiCYEX"} for number in range(300)
    }
    text = f"# {keys['p7']['secret']}x\n[a]\nb = {keys['p7']['secret']}{keys['p200']['secret']}\n".encode()
    assert adopt_warnings.find_key_copies(text, "f", keys) == [
        "f, line 1: a plaintext copy of p7's secret key stays there; remove it manually",
        "f, line 3: a plaintext copy of p7's secret key stays there; remove it manually",
        "f, line 3: a plaintext copy of p200's secret key stays there; remove it manually",
    ]
    assert adopt_warnings.find_key_copies(text, "f", {}) == []
