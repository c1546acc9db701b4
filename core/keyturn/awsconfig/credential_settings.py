"""The credential settings of a profile in the shared files, and the profiles that depend on it."""

from __future__ import annotations

from dataclasses import dataclass

from keyturn.awsconfig.loader import SharedConfig
from keyturn.awsconfig.parser import DEFAULT, Document, FileKind, Item, Section
from keyturn.awsconfig.resolver import Resolver
from keyturn.model.profile import Origin
from keyturn.model.secret import Secret

#: The settings that adopt removes (aws-facts 1.5). Region, output, account, endpoints and nested blocks stay.
CREDENTIAL_KEYS = frozenset(
    {
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "aws_security_token",
        "role_arn",
        "source_profile",
        "credential_source",
        "external_id",
        "mfa_serial",
        "duration_seconds",
        "role_session_name",
        "web_identity_token_file",
        "sso_session",
        "sso_account_id",
        "sso_role_name",
        "sso_start_url",
        "sso_region",
        "sso_registration_scopes",
        "credential_process",
        "login_session",
    }
)


@dataclass(frozen=True, slots=True)
class CredentialItem:
    """A credential setting of a profile."""

    kind: FileKind
    section: str
    """Header of the section that holds it: the profile's own, or `DEFAULT`."""
    key: str
    value: Secret
    """Always treated as a secret, because any setting may hold one, even a command line."""
    origin: Origin


def credential_items(shared: SharedConfig, name: str) -> tuple[CredentialItem, ...]:
    """Return the credential settings of a profile, config file first, in file order; empty for an unknown
    profile."""
    sections = shared.definitions.get(name)
    if sections is None:
        return ()
    return (
        *_items_of_file(shared, FileKind.CONFIG, shared.config, sections.config),
        *_items_of_file(shared, FileKind.CREDENTIALS, shared.credentials, sections.credentials),
    )


def dependants(shared: SharedConfig, name: str) -> tuple[str, ...]:
    """Return the profiles whose chain of source profiles includes `name`, in file order."""
    resolver = Resolver(shared)
    return tuple(
        other
        for other, settings in shared.profiles.items()
        if other != name and "source_profile" in settings and name in resolver.resolve(other).chain
    )


def _items_of_file(
    shared: SharedConfig, kind: FileKind, document: Document | None, section: Section | None
) -> list[CredentialItem]:
    if document is None or section is None:
        return []
    path = shared.path_of(kind)

    def to_item(header: str, item: Item) -> CredentialItem:
        return CredentialItem(kind, header, item.key, Secret(item.value), Origin(path, item.line))

    own = {item.key for item in section.items}
    inherited = [item for item in document.defaults.values() if item.key not in own]
    return [
        *(to_item(DEFAULT, item) for item in inherited if item.key in CREDENTIAL_KEYS),
        *(to_item(section.name, item) for item in section.items if item.key in CREDENTIAL_KEYS),
    ]
