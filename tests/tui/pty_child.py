"""The app over a service in memory as a process of its own, for tests on a real pty and for manual use.

`python -m tests.tui.pty_child believable|hostile|hostile-wide|crash|NUMBER [open|absent|locked] [--ascii]
[--read-only] [--no-mouse]`
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from keyturn.model.profile import FileProblem, VaultState
from keyturn_tui.app import run
from keyturn_tui.terminal.capabilities import Options
from tests.tui.memory_service import MemoryService
from tests.tui.sample_profiles import believable, many


class CrashingService(MemoryService):
    """A service whose clock fails on the event loop once the list is shown, with a secret in a local variable
    and the message."""

    def now(self) -> datetime:
        canary = "canary-" + "secret"
        if self.crashing:
            raise ValueError(canary)
        return super().now()

    crashing = False

    def stop(self, name: str) -> str:
        self.crashing = True
        return super().stop(name)


def main() -> int:
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    vault = VaultState(words[1]) if len(words) > 1 else VaultState.OPEN
    home = Path(os.environ["HOME"])
    if words[0] == "believable":
        problem = FileProblem(str(home / ".aws/config"), 17, "no section header before 'regoin = eu-west-1'")
        service = MemoryService(
            believable(), vault=vault, problems=[problem], keyring="Secret Service", home=home
        )
    elif words[0] == "hostile":
        from tests.adversarial.hostile_input.rows import PROBLEMS, PROFILES

        service = MemoryService(PROFILES, problems=PROBLEMS, home=home)
    elif words[0] == "hostile-wide":
        from tests.adversarial.hostile_input.corpus import BY_KIND
        from tests.adversarial.hostile_input.rows import hostile

        service = MemoryService(
            [hostile(name, 1 + 7 * nth) for nth, name in enumerate(BY_KIND["wide"])], home=home
        )
    elif words[0] == "crash":
        service = CrashingService(believable(), home=home)
    else:
        now = datetime.now(UTC)
        service = MemoryService(many(int(words[0]), now), vault=vault, now=None, home=home)
    options = Options(
        ascii="--ascii" in sys.argv, read_only="--read-only" in sys.argv, mouse="--no-mouse" not in sys.argv
    )
    return run(options, os.environ, service)


if __name__ == "__main__":
    sys.exit(main())
