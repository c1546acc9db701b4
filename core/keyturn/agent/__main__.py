"""Entry point `python -m keyturn.agent`, started on unlock by :func:`keyturn.agent.rpc_client.start`."""

from __future__ import annotations

import gc
import threading
from collections.abc import Mapping

from keyturn.agent.daemon import run_agent
from keyturn.agent.server import ServicePort
from keyturn.model.secret import Secret


def open_service(
    environ: Mapping[str, str], passphrase: Secret | None, recovery_key: Secret | None
) -> ServicePort:
    """Return a service for `environ` with the vault open in this process. Start to load boto3 in the
    background."""
    from keyturn.service import CredentialService

    service = CredentialService.from_environ(environ, use_agent=False, serves_others=True)
    service.unlock_here(passphrase=passphrase, recovery_key=recovery_key)
    threading.Thread(target=_warm_up, daemon=True).start()
    return service


def _warm_up() -> None:
    """Load boto3 and exempt its objects from garbage collection. They live as long as the agent; if they were
    counted, a tenth of the agent's memory could accumulate as garbage before Python collects its oldest
    generation."""
    from keyturn.aws.client import warm_up

    warm_up()
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    run_agent(open_service)
