"""Entry point `python -m keyturn.delivery.endpoint`, started by :mod:`keyturn.delivery.endpoint.launcher`."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.delivery.endpoint.credential_source import ServicePort
from keyturn.delivery.endpoint.daemon import run_endpoint


def open_service(environ: Mapping[str, str]) -> ServicePort:
    """Return the service for `environ`."""
    from keyturn.service import CredentialService

    return CredentialService.from_environ(environ)


if __name__ == "__main__":
    run_endpoint(open_service)
