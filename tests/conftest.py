"""What all tests share: helpers of this folder are imported as `tests.NAME`, from the top of the repository."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
