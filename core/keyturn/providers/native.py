"""Native profiles: sessions from botocore's own providers, or from the profile's `credential_process`."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Mapping
from typing import Self

from keyturn.aws.api import IssuedCredentials
from keyturn.aws.deadline import MAX_SECONDS
from keyturn.model.errors import NotFound, ProfileBroken, Remedy
from keyturn.model.profile import Credentials, Kind
from keyturn.providers import process
from keyturn.providers.base import CredentialProvider, RefresherPort, SessionRequest, Sources
from keyturn.system import running_call
from keyturn.system.caller_environment import require_known_host

#: What botocore sends for a profile of a kind, where no signature protects it.
_UNSIGNED_SECRETS: Mapping[str, str] = {
    Kind.WEB_IDENTITY: "its id token",
    Kind.SSO_ROLE: "its portal token",
    Kind.CONSOLE_LOGIN: "its refresh token",
}


class NativeProvider(CredentialProvider):
    """Sessions of a native profile, of any kind that botocore resolves."""

    @classmethod
    def of(cls, name: str, sources: Sources, refresher: RefresherPort) -> Self:
        """See :meth:`keyturn.providers.base.CredentialProvider.of`."""
        return cls(name, sources, refresher)

    def fingerprint(self, _path: tuple[str, ...]) -> list[object]:
        """See :meth:`keyturn.providers.base.CredentialProvider.fingerprint`."""
        settings = self.sources.settings(self.name)
        parts: list[object] = ["native", sorted((key, str(value)) for key, value in settings.items())]
        line = settings.get("credential_process")
        return [*parts, _program(line)] if isinstance(line, str) else parts

    def retrieve(self, request: SessionRequest) -> tuple[IssuedCredentials, str]:
        """See :meth:`keyturn.providers.base.CredentialProvider.retrieve`.

        :raises NotFound: if there is no such profile.
        :raises ProfileBroken: if it defines no credentials, or invalid ones.
        """
        native = self.sources.natives.get(self.name)
        if native is None:
            raise NotFound(f"Profile not found: {self.name}", "", Remedy("list"))
        if native.problem:
            raise ProfileBroken(
                f"Profile {self.name} is invalid", native.problem, "Correct it in the shared files"
            )
        if native.kind is Kind.UNKNOWN:
            raise ProfileBroken(
                f"Profile {self.name} is invalid", "it has no credentials", "Add credentials to it first"
            )
        if native.kind in _UNSIGNED_SECRETS:
            require_known_host(
                f"Could not get credentials of {self.name}",
                self.sources.foreign_names,
                f"{_UNSIGNED_SECRETS[native.kind]} would be sent there",
            )
        if native.kind is Kind.PROCESS:
            return IssuedCredentials(self._run_process(request)), ""
        return IssuedCredentials(self.refresher.aws(self.name, request).native_credentials(self.name)), ""

    def _run_process(self, request: SessionRequest) -> Credentials:
        """Return the credentials of the profile's own program, which has a time limit of its own."""
        line = str(self.sources.settings(self.name).get("credential_process") or "")
        definitions, started = self.sources.definitions, time.monotonic()
        running_call.current().allow(process.seconds_for(definitions, request.path) + MAX_SECONDS)
        try:
            return process.credentials(line, request.path, definitions, self.sources.clock)
        finally:
            request.deadline.exclude(time.monotonic() - started)


def _program(line: str) -> str | None:
    """Return the path to which the program of a `credential_process` resolves now, because another program of
    the same name is another source.
    """
    try:
        words = shlex.split(line)
    except ValueError:
        return None
    return shutil.which(words[0]) if words else None
