"""The static credentials of a native profile, taken as botocore takes them: from one file, never paired across both."""

from __future__ import annotations

from keyturn.awsconfig.document import FileKind
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.profiles.inventory import Inventory
from keyturn.profiles.profile_sections import own_section


def static_credentials(inventory: Inventory, name: str) -> Credentials | None:
    """The keys in clear that AWS tools use for a profile as a source; None if they take something else.

    The credentials file comes before `credential_process`, the config file after it (aws-facts 2.1).
    """
    credentials = in_file(inventory, name, FileKind.CREDENTIALS)
    if credentials is not None:
        return credentials
    if any(inventory.settings(name).get(setting) for setting in ("credential_process", "login_session")):
        return None
    return in_file(inventory, name, FileKind.CONFIG)


def in_file(inventory: Inventory, name: str, kind: FileKind) -> Credentials | None:
    """The keys in clear that one file holds for a profile."""
    document = inventory.document(kind)
    header = own_section(document, kind, name)
    section = document.section(header) if document is not None and header is not None else None
    if document is None or section is None:
        return None

    def text(key: str) -> str:
        item = document.item(section, key)
        return item.value if item is not None else ""

    key_id, secret = text("aws_access_key_id"), text("aws_secret_access_key")
    token = text("aws_security_token") or text("aws_session_token")
    if not key_id or not secret:
        return None
    return Credentials(key_id, Secret(secret), Secret(token) if token else None)
