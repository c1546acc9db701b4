"""The other half of the campaign over the screens, for the other core: a small terminal that shows ASCII only."""

from __future__ import annotations

import pytest

from tests.app.conftest import NARROW, Drive, drive
from tests.hostile.test_hostile_screens import Record, every_text

__all__ = ["drive"]


@pytest.mark.campaign
@pytest.mark.timeout(1200)
async def test_every_text_at_80x24_in_ascii(drive: Drive, record_property: Record) -> None:
    await every_text(drive, NARROW, ascii_only=True, record=record_property)
