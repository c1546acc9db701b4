"""Native profiles: sessions that botocore's own providers get from the shared files."""

from __future__ import annotations

from typing import Self

from keyturn.aws.api import IssuedCredentials
from keyturn.model.errors import NotFound, ProfileBroken, Remedy
from keyturn.model.profile import Kind
from keyturn.providers.base import CredentialProvider, RefresherPort, SessionRequest, Sources


class NativeProvider(CredentialProvider):
    """Sessions of a native profile, of any kind that botocore resolves."""

    @classmethod
    def of(cls, name: str, sources: Sources, refresher: RefresherPort) -> Self:
        """See :meth:`keyturn.providers.base.CredentialProvider.of`."""
        return cls(name, sources, refresher)

    def fingerprint(self, _path: tuple[str, ...]) -> list[object]:
        """See :meth:`keyturn.providers.base.CredentialProvider.fingerprint`."""
        settings = self.sources.settings(self.name)
        return ["native", sorted((key, str(value)) for key, value in settings.items())]

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
        return IssuedCredentials(self.refresher.aws(self.name, request).native_credentials(self.name)), ""
