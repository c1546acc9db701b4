"""The JSON document that a `credential_process` prints for AWS clients."""

from __future__ import annotations

import json

from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.model.text import from_iso, iso


def document(credentials: Credentials, account: str | None) -> str:
    """Return the credential_process document, version 1, on one line (AWS SDKs reference, "Process credential
    provider"). It contains the secrets in plaintext.

    Absent members are omitted, never null or empty. `Expiration` includes its time zone.
    """
    table: dict[str, object] = {
        "Version": 1,
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key.reveal(),
    }
    if credentials.session_token:
        table["SessionToken"] = credentials.session_token.reveal()
    if credentials.expires:
        table["Expiration"] = iso(credentials.expires)
    if account:
        table["AccountId"] = account
    return json.dumps(table)


def parse(text: str) -> tuple[Credentials, str | None]:
    """Return the credentials and the account of a document that :func:`document` wrote."""
    table = json.loads(text)
    token = table.get("SessionToken")
    return (
        Credentials(
            table["AccessKeyId"],
            Secret(table["SecretAccessKey"]),
            Secret(token) if token else None,
            from_iso(table.get("Expiration")),
        ),
        table.get("AccountId"),
    )
