"""Agent program with a service that opens with the passphrase `correct horse` or without any secret.

It runs from the installed keyturn, or from a copy beside it where an ordinary user cannot reach the installed
one.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keyturn.model.secret import Secret
    from keyturn.system.caller_environment import CallerEnvironment


class FakeService:
    def wait_until_secrets_saved(self) -> None:
        """Return at once: nothing is unsaved."""

    def withdraw_delivered(self) -> object:
        return ()

    def renew_due(self, may_go_on: object) -> object:  # noqa: ARG002  # a part of the port
        return ()

    def get_forwarded_credentials(self, name: str, least_seconds: int | None) -> str:
        raise AssertionError((name, least_seconds))

    def withdraw_expired(self) -> object:
        return ()

    def run_operation(
        self, op: str, args: Mapping[str, object], caller: CallerEnvironment | None, steps: object = None
    ) -> object:
        del caller, steps
        if op == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if op == "slow":
            time.sleep(float(str(args["seconds"])))
        if op == "patient":
            from keyturn.system import running_call

            running_call.current().allow(60)
            time.sleep(float(str(args["seconds"])))
        if op == "limits":
            umask = os.umask(0o077)
            return {
                "core": resource.getrlimit(resource.RLIMIT_CORE),
                "umask": umask,
                "folder": str(Path.cwd()),
                "environ": sorted(os.environ),
                "session": os.getsid(0),
                "modules": sorted(sys.modules),
                "open": sorted(str(Path(f"/proc/self/fd/{fd}").readlink()) for fd in (0, 1, 2)),
            }
        return {"did": op, "args": dict(args)}

    def credential_process(self, name: str, caller: CallerEnvironment | None) -> str:
        del caller
        return json.dumps({"Version": 1, "AccessKeyId": name})


def open_service(
    environ: Mapping[str, str], passphrase: Secret | None, recovery_key: Secret | None
) -> FakeService:
    from keyturn.model.errors import WrongPassphrase

    if "KEYTURN_TEST_SLOW" in environ:
        Path(environ["KEYTURN_TEST_SLOW"]).write_text(str(os.getpid()))
        time.sleep(60)
    if environ.get("KEYTURN_TEST_BURST"):
        raise RuntimeError("canary")
    if passphrase is not None and passphrase.reveal() != "correct horse":
        raise WrongPassphrase("the vault", "the passphrase does not open it")
    if recovery_key is not None and recovery_key.reveal() != "AGE-SECRET-KEY-1TEST":
        raise WrongPassphrase("the vault", "the recovery key does not open it")
    return FakeService()


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    if (here / "keyturn").is_dir():
        sys.path.insert(0, str(here))
    from keyturn.agent.daemon import run_agent

    run_agent(open_service)
