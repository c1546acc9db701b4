"""Registry of credential providers, in order of precedence. A new way to get a session is added here."""

from __future__ import annotations

from keyturn.model.errors import UnparsableFile
from keyturn.providers.assume_role import AssumeRoleProvider
from keyturn.providers.base import CredentialProvider
from keyturn.providers.native import NativeProvider
from keyturn.providers.session_token import SessionTokenProvider
from keyturn.storage.managed_profiles import HINT, ManagedProfiles

#: The last one applies to every profile.
PROVIDERS: tuple[type[CredentialProvider], ...] = (SessionTokenProvider, AssumeRoleProvider, NativeProvider)


def provider_of(kind: str) -> type[CredentialProvider]:
    """Return the provider of a kind of managed profile, which must be known."""
    return next(provider for provider in PROVIDERS if provider.kind == kind)


def require_known_kinds(definitions: ManagedProfiles, path: str) -> ManagedProfiles:
    """Return `definitions` of the file `path` if each of them has a provider.

    :raises UnparsableFile: if one has none, for example because a later version of keyturn wrote it.
    """
    kinds = {provider.kind for provider in PROVIDERS if provider.kind}
    for name, definition in definitions.items():
        if definition.kind not in kinds:
            why = f"profile {name}: kind {definition.kind} cannot be managed"
            raise UnparsableFile(f"Could not read {path}", why, HINT, path=path)
    return definitions
