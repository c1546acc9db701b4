"""`python -m keyturn.agent`: started by whoever unlocks, see :func:`keyturn.agent.client.start`."""

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
    """The keeper of `environ`, with the vault open in this process, and boto3 on its way into memory."""
    from keyturn.service import CredentialService

    service = CredentialService.from_environ(environ, use_agent=False, serves_others=True)
    service.unlock_here(passphrase=passphrase, recovery_key=recovery_key)
    threading.Thread(target=_warm_up, daemon=True).start()
    return service


def _warm_up() -> None:
    """Loads boto3. What it brings stays for the agent's life: counted among what may be garbage, it would let a tenth of
    the agent's memory gather before Python looks for garbage among what has lived for a while."""
    from keyturn.aws.client import warm_up

    warm_up()
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    run_agent(open_service)
