"""The part of the seed that keyturn creates: a vault, adopted profiles, and sessions that are fresh, expiring
and expired."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from keyturn.model.secret import Secret
from keyturn.service import CredentialService

if TYPE_CHECKING:
    from keyturn_sandbox.sandbox import Sandbox

PASSPHRASE = "sandbox"  # noqa: S105  # public passphrase of the sandbox
_HOUR = 3600.0
_ADOPTED = ("ci-deploy", "acme-build", "acme-alice")


def furnish(sandbox: Sandbox, environ: Mapping[str, str]) -> None:
    """Prepare a seeded sandbox for use: managed profiles, and an agent with the open vault.

    `os.environ` must be the sandbox's (`sandbox.environ`) during the call, because boto3 reads the process
    environment.
    """
    recovery_key = plant_managed(sandbox, CredentialService.from_environ(environ, use_agent=False))
    CredentialService.from_environ(environ).unlock(recovery_key=recovery_key)


def plant_managed(sandbox: Sandbox, service: CredentialService) -> Secret:
    """Create a vault with the passphrase `sandbox`, three adopted IAM users with their roles, and sessions of
    all ages. Return the recovery key and leave the vault locked.

    :param service: the sandbox's service, without an agent.
    """
    recovery_key = service.create_vault("passphrase", Secret(PASSPHRASE))
    service.confirm_recovery_key()
    for hours_ago, name in ((3.0, "ci-audit"), (0.87, "ci-release"), (0.3, "acme-hub")):
        sandbox.move_clock(-hours_ago * _HOUR)
        try:
            if name == "ci-audit":
                service.adopt(service.plan_adopt(_ADOPTED))
            service.refresh(name)
        finally:
            sandbox.move_clock(hours_ago * _HOUR)
    for name in ("ci-deploy", "acme-batch"):
        service.refresh(name)
    service.lock()
    return recovery_key
