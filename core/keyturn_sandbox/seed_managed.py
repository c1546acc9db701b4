"""The part of the seed that keyturn itself makes: a vault, adopted profiles, sessions that live, end soon and are over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from keyturn.model.secret import Secret
from keyturn.service import CredentialService

if TYPE_CHECKING:
    from keyturn_sandbox.sandbox import Sandbox

PASSPHRASE = "sandbox"  # noqa: S105  # the sandbox's, told to everybody
_HOUR = 3600.0
_ADOPTED = ("ci-deploy", "acme-build", "acme-alice")


def furnish(sandbox: Sandbox, environ: Mapping[str, str]) -> None:
    """Makes a seeded sandbox ready for a person: managed profiles, and the vault open in an agent of its own.

    boto3 looks at the process's own environment, so `os.environ` must be the sandbox's (`sandbox.environ`) meanwhile.
    """
    recovery_key = plant_managed(sandbox, CredentialService.from_environ(environ, use_agent=False))
    CredentialService.from_environ(environ).unlock(recovery_key=recovery_key)


def plant_managed(sandbox: Sandbox, service: CredentialService) -> Secret:
    """Gives a seeded sandbox a vault with the passphrase `sandbox`, three adopted IAM users with their roles, and
    sessions of all ages; returns the recovery key and leaves the vault closed.

    :param front: the sandbox's keeper, without an agent.
    """
    recovery_key = service.create_vault("passphrase", Secret(PASSPHRASE))
    service.confirm_recovery_key()
    for hours_ago, names in ((3.0, ("ci-audit",)), (0.87, ("ci-release",)), (0.3, ("acme-hub",))):
        sandbox.move_clock(-hours_ago * _HOUR)
        try:
            if names == ("ci-audit",):
                service.adopt(service.plan_adopt(_ADOPTED))
            for name in names:
                service.refresh(name)
        finally:
            sandbox.move_clock(hours_ago * _HOUR)
    for name in ("ci-deploy", "acme-batch"):
        service.refresh(name)
    service.lock()
    return recovery_key
