"""`python -m keyturn.delivery.endpoint`: started by `keyturn exec --endpoint`, see :mod:`keyturn.delivery.endpoint.launcher`."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.delivery.endpoint.daemon import CredentialSource, run_endpoint


def open_credential_source(environ: Mapping[str, str], profile: str, first: str) -> CredentialSource:
    """What gets credentials of `profile` from the keeper of `environ`."""
    from keyturn.delivery.endpoint.credential_source import ServiceCredentialSource
    from keyturn.service import CredentialService

    return ServiceCredentialSource(CredentialService.from_environ(environ), profile, first)


if __name__ == "__main__":
    run_endpoint(open_credential_source)
