"""An operation reads the shared files, the index and its documents no more often than it does today.

A ceiling comes down with the figure that `python -m tests.benchmarks.trace_operation` prints; none goes up
without a reason beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

CEILINGS = {
    # 26 since the parameters of AssumeRole have a module of their own.
    "refresh": {"main_line": 26, "whole_readings": 2, "documents": 3, "profiles.toml": 2, "index.json": 2},
    "adopt": {"main_line": 25, "whole_readings": 2, "documents": 4, "profiles.toml": 3, "index.json": 3},
    "credential-process": {
        "main_line": 20,
        "whole_readings": 1,
        "documents": 2,
        "profiles.toml": 1,
        "index.json": 3,
    },
}


@pytest.fixture(scope="module")
def figures() -> dict[str, dict[str, Any]]:
    """Return the figures of each operation, traced in a process of its own because tracing replaces the
    environment."""
    command = [sys.executable, "-m", "tests.benchmarks.trace_operation", "--json"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return {entry["operation"]: entry for entry in json.loads(found.stdout)}


@pytest.mark.parametrize(
    ("operation", "figure"), [(name, figure) for name, row in CEILINGS.items() for figure in row]
)
def test_no_figure_is_above_its_ceiling(
    figures: dict[str, dict[str, Any]], operation: str, figure: str
) -> None:
    assert 0 < figures[operation][figure] <= CEILINGS[operation][figure]


def test_a_refresh_asks_aws_under_the_lock_of_one_source(figures: dict[str, dict[str, Any]]) -> None:
    assert figures["refresh"]["locks"]["source"] == 1


@pytest.mark.parametrize("kind", ["source", "state", "shared file", "vault"])
def test_a_cached_session_is_served_without_a_lock_of(figures: dict[str, dict[str, Any]], kind: str) -> None:
    assert kind not in figures["credential-process"]["locks"]
