"""No secret leaks with all debug output turned on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.adversarial.secret_leaks.forwarded_flow import forward_sample, forward_sessions
from tests.adversarial.secret_leaks.memory_sampling import Sampler
from tests.adversarial.secret_leaks.test_secret_leaks_flow import Record, report
from tests.adversarial.secret_leaks.verb_flow import (
    create_vaults,
    lock_vault,
    open_flow,
    rotate_keys,
    run_verb_sample,
    use_sessions,
)

#: Runs before keyturn in every Python that does not refuse it.
_SITECUSTOMIZE = """
import logging
logging.basicConfig(level=logging.DEBUG)
for name in ("botocore", "boto3", "urllib3", "asyncio", "keyring", "keyturn"):
    logging.getLogger(name).setLevel(logging.DEBUG)
"""


def debug_environ(folder: Path) -> dict[str, str]:
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
    with Sampler() as sampler, open_flow(tmp_path, debug_environ(tmp_path)) as user:
        run_verb_sample(user)
        forward_sample(user)
        lock_vault(user)
    user.search_processes(sampler)
    report(user, record_property, "verbs with debugging on, sample")


@pytest.mark.campaign
@pytest.mark.timeout(1800)
def test_no_secret_leaves_a_working_life_with_everything_told(
    tmp_path: Path, record_property: Record
) -> None:
    environ = debug_environ(tmp_path) | {"PYTHONTRACEMALLOC": "5"}
    with Sampler() as sampler, open_flow(tmp_path, environ) as user:
        create_vaults(user)
        use_sessions(user)
        forward_sessions(user)
        rotate_keys(user)
    user.search_processes(sampler)
    report(user, record_property, "verbs with debugging on")
