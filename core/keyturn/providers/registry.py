"""Registry of credential providers, in order of precedence."""

from __future__ import annotations

from keyturn.providers.assume_role import AssumeRoleProvider
from keyturn.providers.base import CredentialProvider, Sources, SourceSessions
from keyturn.providers.native import NativeProvider
from keyturn.providers.session_token import SessionTokenProvider

#: The last one applies to every profile.
PROVIDERS: tuple[type[CredentialProvider], ...] = (SessionTokenProvider, AssumeRoleProvider, NativeProvider)


def provider_for(name: str, sources: Sources, sessions: SourceSessions) -> CredentialProvider:
    """Return the provider for a profile."""
    providers = (provider.of(name, sources, sessions) for provider in PROVIDERS)
    return next(provider for provider in providers if provider is not None)
