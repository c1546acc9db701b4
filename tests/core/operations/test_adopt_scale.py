"""Operations on thousands of profiles: the number of file reads must not depend on the number of profiles."""

from __future__ import annotations

from typing import Any

import pytest

from keyturn.awsconfig.parser import parse
from tests.core.operations.conftest import Bench


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
