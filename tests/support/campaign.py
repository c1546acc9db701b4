"""Cases of a parametrised test that are left to campaigns."""

from __future__ import annotations

import pytest


def campaign(*cases: object) -> list[object]:
    """Return cases that only a campaign runs. A tuple is one case of several parameters."""
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.campaign)
        for case in cases
    ]
