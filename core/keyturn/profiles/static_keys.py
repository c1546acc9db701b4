"""Static credentials of native profiles, resolved as botocore does: key id and secret come from the same
file.
"""

from __future__ import annotations

from keyturn.awsconfig.document import FileKind
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.profiles.inventory import Inventory
from keyturn.profiles.profile_sections import own_section


def static_credentials(inventory: Inventory, name: str) -> Credentials | None:
    """Return the plaintext keys that AWS tools use for a source profile, or None if they use another source.

    The credentials file takes precedence over `credential_process`, and that over the config file (aws-facts
    2.1).
    """
    credentials = in_file(inventory, name, FileKind.CREDENTIALS)
    if credentials is not None:
        return credentials
    if any(inventory.settings(name).get(setting) for setting in ("credential_process", "login_session")):
        return None
    return in_file(inventory, name, FileKind.CONFIG)


def in_file(inventory: Inventory, name: str, kind: FileKind) -> Credentials | None:
    """Return the plaintext keys of a profile in one file."""
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
