"""No secret appears on a terminal where the app runs: not on a screen, not in its scrollback, not in the sent
bytes. This holds with all debug output of Python, botocore and Textual, which the agent ignores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keyturn.agent import rpc_client
from keyturn.storage.paths import paths_for
from tests.adversarial.secret_leaks.forwarded_flow import device_sessions
from tests.adversarial.secret_leaks.memory_sampling import Sampler
from tests.adversarial.secret_leaks.screen_session import open_searched_terminal, working_day
from tests.adversarial.secret_leaks.test_secret_leaks_debug import debug_environ
from tests.adversarial.secret_leaks.test_secret_leaks_flow import Record, report
from tests.adversarial.secret_leaks.verb_flow import create_vault, open_flow
from tests.support.needs import needs, skip_or_fail

#: Variables that make an interpreter or its libraries print more.
TELLING = ("PYTHON", "TEXTUAL", "LD_", "MALLOC_")


@pytest.mark.campaign
@pytest.mark.timeout(400)
@pytest.mark.parametrize("debugging", ["as it is", "everything told"])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 36)], ids=["80x24", "120x36"])
def test_no_secret_is_on_a_terminal_beside_the_recovery_key_on_its_one_screen(
    tmp_path: Path, debugging: str, width: int, height: int, record_property: Record
) -> None:
    needs("tmux")
    extra = debug_environ(tmp_path) if debugging == "everything told" else {}
    with Sampler() as sampler, open_flow(tmp_path, extra) as user:
        name = f"kt-canaries-{os.getpid()}-{width}-{len(extra)}"
        with open_searched_terminal(user, tmp_path, name, width, height) as terminal:
            working_day(terminal)
            assert device_sessions(user) == 1
        user.search_files()
        steps = terminal.steps
    user.search_processes(sampler)
    record_property(f"canaries: screens looked at, {width}x{height}, {debugging}", steps)
    report(user, record_property, f"app at {width}x{height}, {debugging}")


def test_the_agent_hears_nothing_of_what_makes_python_tell_more(tmp_path: Path) -> None:
    if os.geteuid() != 0 or not Path("/proc/self/environ").exists():
        skip_or_fail("only root can read the environment of the agent, and only in /proc")
    with open_flow(tmp_path, {**debug_environ(tmp_path), "LD_BIND_NOW": "1"}) as user:
        create_vault(user)
        socket = paths_for(user.person.environ).socket
        pid = rpc_client.call(socket, {"op": "status"})["pid"]
        names = [
            part.partition(b"=")[0].decode()
            for part in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        ]
        assert "HOME" in names
        assert [name for name in names if name.startswith(TELLING)] == []
        user.does("adopt", "ci-deploy", "--yes")
        user.does("refresh", "ci-deploy")
        log = paths_for(user.person.environ).state_dir / "keyturn.log"
        assert not log.exists() or b"DEBUG" not in log.read_bytes()
