"""No secret of a whole working life leaks: output, files, command lines, environments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.adversarial.secret_leaks.forwarded_flow import forward_sessions
from tests.adversarial.secret_leaks.memory_sampling import Sampler
from tests.adversarial.secret_leaks.verb_flow import (
    Flow,
    create_vaults,
    move_vault,
    open_flow,
    release_all,
    rotate_keys,
    use_sessions,
)

Record = Callable[[str, object], None]


def report(user: Flow, record: Record, part: str) -> None:
    record(f"canaries: secrets searched for, {part}", len(user.search.names))
    record(f"canaries: places looked at, {part}", user.search.places)
    record(f"canaries: found, {part}", len(user.hits))
    assert [str(hit) for hit in user.hits] == []


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_no_secret_leaves_in_a_whole_working_life(tmp_path: Path, record_property: Record) -> None:
    with Sampler() as sampler, open_flow(tmp_path) as user:
        create_vaults(user)
        use_sessions(user)
        forward_sessions(user)
        rotate_keys(user)
        move_vault(user, tmp_path)
        release_all(user)
        user.search_files()
    user.search_processes(sampler)
    record_property("canaries: processes seen", len(sampler.processes))
    record_property("canaries: commands run", user.commands)
    report(user, record_property, "verbs")
