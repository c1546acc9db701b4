"""The program under test, which `KEYTURN=/path/to/keyturn` replaces by another installation."""

from __future__ import annotations

from tests.end_to_end.person import Person


def test_the_program_creates_a_vault_adopts_and_hands_out_a_session(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    assert newcomer.aws_identity("ci-deploy").endswith("user/ci/ci-deploy")
