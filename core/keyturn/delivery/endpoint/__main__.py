"""Entry point `python -m keyturn.delivery.endpoint`, started by :mod:`keyturn.delivery.endpoint.launcher`."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.delivery.endpoint.daemon import CredentialSource, run_endpoint


def open_credential_source(environ: Mapping[str, str], profile: str, first: str) -> CredentialSource:
    """Return the credential source of `profile` with a service for `environ`."""
    from keyturn.delivery.endpoint.credential_source import ServiceCredentialSource
    from keyturn.service import CredentialService

    return ServiceCredentialSource(CredentialService.from_environ(environ), profile, first)


if __name__ == "__main__":
    run_endpoint(open_credential_source)
