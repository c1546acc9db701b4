"""Some screens as pictures, at a fixed clock; text elsewhere is asserted as text.

`pytest tests/tui/test_app_pictures.py --snapshot-update` draws them again after an intended change.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keyturn.model.profile import FileProblem, VaultState
from keyturn_tui.app import KeyturnApp
from keyturn_tui.terminal.capabilities import Options, terminal_for
from tests.tui.conftest import NARROW, UTF8, WIDE
from tests.tui.memory_service import MemoryService
from tests.tui.sample_profiles import believable

Compare = Callable[..., bool]


def app_over(service: MemoryService, *, ascii_only: bool = False) -> KeyturnApp:
    options = Options(ascii=ascii_only)
    return KeyturnApp(service, options, terminal_for(UTF8, options))


@pytest.mark.parametrize(("size", "keys"), [(WIDE, ["j"]), (NARROW, ["s"])], ids=["120x36", "80x24"])
def test_main_screen(snap_compare: Compare, size: tuple[int, int], keys: list[str]) -> None:
    problem = FileProblem("/home/jo/.aws/config", 17, "no section header before 'regoin = eu-west-1'")
    service = MemoryService(believable(), problems=[problem])
    assert snap_compare(app_over(service), press=keys, terminal_size=size)


@pytest.mark.parametrize(
    ("size", "ascii_only"),
    [(WIDE, False), (NARROW, False), ((66, 20), False), ((44, 14), False), (NARROW, True)],
    ids=["120x36", "80x24", "66x20", "44x14", "80x24-ascii"],
)
def test_timeline(snap_compare: Compare, size: tuple[int, int], ascii_only: bool) -> None:
    app = app_over(MemoryService(believable()), ascii_only=ascii_only)
    assert snap_compare(app, press=["t", "j"], terminal_size=size)


def test_adopt_review(snap_compare: Compare) -> None:
    keys = ["G", "m"]
    assert snap_compare(app_over(MemoryService(believable())), press=keys, terminal_size=NARROW)


def test_unlock(snap_compare: Compare) -> None:
    service = MemoryService(believable(), vault=VaultState.LOCKED)
    assert snap_compare(app_over(service), press=["G", "k", "k", "k", "k", "r"], terminal_size=NARROW)
