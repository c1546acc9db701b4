"""What cannot be read is not taken for empty."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.awsfiles import shared
from keyturn.errors import UnsafeFile
from keyturn.model import Delivery
from tests.keeper.conftest import Bench

ACTS: dict[str, Callable[[Bench], object]] = {
    "adopt": lambda bench: bench.adopt("personal"),
    "deliver": lambda bench: bench.keeper.deliver("ci-deploy", Delivery.CREDENTIAL_PROCESS),
}


@pytest.mark.parametrize("act", ACTS)
def test_a_config_file_that_cannot_be_read_is_not_taken_for_one_without_our_line(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    bench.adopt("ci-deploy")
    bench.keeper.deliver("ci-deploy", Delivery.NOWHERE)
    before = bench.files()
    real = shared.read_regular

    def refused(path: Path) -> bytes | None:
        if path == bench.config:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path)

    monkeypatch.setattr(shared, "read_regular", refused)
    with pytest.raises(UnsafeFile, match="cannot be read: Input/output error"):
        ACTS[act](bench)
    monkeypatch.undo()
    assert bench.files() == before
    assert bench.keeper.settings("ci-deploy")["session"] == "temporary"
