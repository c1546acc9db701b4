"""One MFA code serves the user and the roles of that user, in either order."""

from __future__ import annotations

import pytest

from tests.end_to_end.person import Person


@pytest.mark.parametrize(("first", "second"), [("prod-admin", "acme-alice"), ("acme-alice", "prod-admin")])
def test_a_code_for_one_profile_serves_the_other(newcomer: Person, first: str, second: str) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "acme-alice", "--yes")
    assert newcomer.keyturn("refresh", second).returncode == 4, "it asks for a code"
    newcomer.does("refresh", first, "--mfa-code", newcomer.sandbox.totp("alice"))
    newcomer.does("refresh", second)
    assert newcomer.row(second)["state"] == "fresh"


def test_a_user_with_the_newest_session_is_asked_for_the_next_one(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "acme-alice", "--yes")
    newcomer.does("refresh", "acme-alice", "--mfa-code", newcomer.sandbox.totp("alice"))
    again = newcomer.keyturn("refresh", "acme-alice")
    assert again.returncode == 4
    assert "MFA code" in again.stderr
