"""The document that `credential_process` prints, by AWS's reference."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest

from keyturn.delivery.credential_process import document, parse
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret

ENDS = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
LONG = Credentials("AKIA", Secret("s"))
SHORT = Credentials("ASIA", Secret("s"), Secret("t"), ENDS)
#: Credentials, account, the table.
DOCUMENTS = [
    (LONG, None, {"Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": "s"}),
    (LONG, "", {"Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": "s"}),
    (
        SHORT,
        "111122223333",
        {
            "Version": 1, "AccessKeyId": "ASIA", "SecretAccessKey": "s", "SessionToken": "t",
            "Expiration": "2026-11-23T13:00:00Z", "AccountId": "111122223333",
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(("credentials", "account", "table"), DOCUMENTS, ids=range(len(DOCUMENTS)))
def test_absent_members_are_left_out(
    credentials: Credentials, account: str | None, table: dict[str, object]
) -> None:
    text = document(credentials, account)
    assert json.loads(text) == table
    assert "\n" not in text


def test_the_end_is_told_in_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    text = document(Credentials("ASIA", Secret("s"), Secret("t"), ENDS.astimezone(berlin)), None)
    assert json.loads(text)["Expiration"] == "2026-11-23T13:00:00Z"


@pytest.mark.parametrize(("credentials", "account"), [(LONG, None), (SHORT, "111122223333"), (SHORT, None)])
def test_a_document_of_ours_is_read_back(credentials: Credentials, account: str | None) -> None:
    found, found_account = parse(document(credentials, account))
    assert found_account == account
    assert (found.access_key_id, found.expires) == (credentials.access_key_id, credentials.expires)
    assert found.secret_access_key.reveal() == "s"
    assert (found.session_token.reveal() if found.session_token else None) == (
        credentials.session_token.reveal() if credentials.session_token else None
    )
