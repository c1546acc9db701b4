"""`show` announces the renewal that then happens."""

from __future__ import annotations

import re

from tests.end_to_end.person import Person

UNUSED = "auto, when used: not used in 24 h, so it will not renew"


def renewal(person: Person, name: str) -> str:
    """Return the line of `show` about the renewal of a profile; empty if there is none."""
    match = re.search(r"^Renewal +(.*)$", person.does("show", name), re.MULTILINE)
    return match[1] if match else ""


def test_the_words_follow_use_and_policy_and_vault(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "acme-alice", "--yes")
    assert renewal(newcomer, "ci-deploy") == UNUSED
    newcomer.does("refresh", "ci-deploy")
    assert renewal(newcomer, "ci-deploy") == UNUSED, "a refresh by hand is no use"
    newcomer.does("credential-process", "ci-deploy")
    assert renewal(newcomer, "ci-deploy") == "auto at 1h 12m left"
    newcomer.does("set", "ci-deploy", "renew=on-demand")
    assert renewal(newcomer, "ci-deploy") == "on demand"
    newcomer.does("set", "ci-deploy", "renew=off")
    assert renewal(newcomer, "ci-deploy") == "off"
    newcomer.does("set", "ci-deploy", "renew=auto")
    newcomer.does("vault", "lock")
    assert renewal(newcomer, "ci-deploy") == "auto, but the vault is locked, so it will not renew"


def test_a_profile_that_delivers_its_key_or_is_native_has_no_renewal(newcomer: Person) -> None:
    newcomer.makes_vault()
    assert renewal(newcomer, "ci-deploy") == ""
    newcomer.does("adopt", "ci-deploy", "--session-none", "--yes")
    assert renewal(newcomer, "ci-deploy") == ""
