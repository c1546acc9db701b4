"""The other half of the campaign over the screens, for the second core: a small terminal that shows ASCII
only, and the timeline in terminals without room for a chart."""

from __future__ import annotations

import pytest

from keyturn_tui.rendering.layout import MIN_HEIGHT, MIN_WIDTH
from tests.adversarial.hostile_input.rows import PROFILES
from tests.adversarial.hostile_input.test_hostile_screens import Record, every_text, timeline
from tests.tui.conftest import NARROW, Drive, drive

__all__ = ["drive"]


@pytest.mark.campaign
@pytest.mark.timeout(1200)
async def test_every_text_at_80x24_in_ascii(drive: Drive, record_property: Record) -> None:
    await every_text(drive, NARROW, ascii_only=True, record=record_property)


@pytest.mark.campaign
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("size", [(50, 20), (MIN_WIDTH, MIN_HEIGHT)], ids=["50x20", "40x10"])
async def test_every_name_in_a_timeline_without_a_chart(
    drive: Drive, size: tuple[int, int], record_property: Record
) -> None:
    screens, _ = await timeline(drive, PROFILES, size)
    assert screens > 80
    record_property("hostile: screens looked at", screens)
