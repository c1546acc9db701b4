"""No secret leaks with all debug output turned on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.adversarial.secret_leaks.forwarded_flow import briefly, lending
from tests.adversarial.secret_leaks.memory_sampling import Sampler
from tests.adversarial.secret_leaks.test_secret_leaks_flow import Record, report
from tests.adversarial.secret_leaks.verb_flow import brief, flow, founding, locking, rotating, working

#: Runs before keyturn in every Python that does not refuse it.
_SITECUSTOMIZE = """
import logging
logging.basicConfig(level=logging.DEBUG)
for name in ("botocore", "boto3", "urllib3", "asyncio", "keyring", "keyturn"):
    logging.getLogger(name).setLevel(logging.DEBUG)
"""


def telling(folder: Path) -> dict[str, str]:
    """Return an environment in which Python, botocore and Textual print all debug output."""
    place = folder / "site"
    place.mkdir()
    (place / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    return {
        "PYTHONPATH": str(place),
        "PYTHONDEVMODE": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONASYNCIODEBUG": "1",
        "TEXTUAL": "debug,devtools",
        "TEXTUAL_LOG": str(folder / "sandbox" / "textual.log"),
    }


@pytest.mark.timeout(400)
def test_no_secret_leaves_a_day_with_everything_told(tmp_path: Path, record_property: Record) -> None:
    with Sampler() as sampler, flow(tmp_path, telling(tmp_path)) as one:
        brief(one)
        briefly(one)
        locking(one)
    one.checks_processes(sampler)
    report(one, record_property, "verbs with debugging on, sample")


@pytest.mark.campaign
@pytest.mark.timeout(1800)
def test_no_secret_leaves_a_working_life_with_everything_told(
    tmp_path: Path, record_property: Record
) -> None:
    environ = telling(tmp_path) | {"PYTHONTRACEMALLOC": "5"}
    with Sampler() as sampler, flow(tmp_path, environ) as one:
        founding(one)
        working(one)
        lending(one)
        rotating(one)
    one.checks_processes(sampler)
    report(one, record_property, "verbs with debugging on")
