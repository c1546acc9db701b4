"""Settings of a role that are there and empty: botocore sends them, and AWS refuses."""

from __future__ import annotations

import pytest

from tests.end_to_end.person import BIN, Person


@pytest.mark.parametrize("key", ["mfa_serial", "external_id", "role_session_name", "role_arn"])
def test_an_empty_setting_is_a_problem_as_it_is_to_the_aws_cli(newcomer: Person, key: str) -> None:
    newcomer.makes_vault()
    role = "" if key == "role_arn" else "arn:aws:iam::444455556666:role/Release"
    other = "" if key == "role_arn" else f"{key} =\n"
    with newcomer.config.open("a") as config:
        config.write(f"\n[profile empty]\nrole_arn = {role}\nsource_profile = ci-deploy\n{other}")
    before = newcomer.files()
    code = (
        "import boto3; boto3.Session(profile_name='empty').client('sts', 'eu-west-1').get_caller_identity()"
    )
    assert newcomer.run(str(BIN / "python"), "-c", code).returncode != 0, "boto3 gets no session"
    row = newcomer.row("empty")
    assert row["state"] == "broken"
    told = f"its {key} is empty: the AWS CLI "
    assert told in row["problem"]
    for words in (("refresh", "empty"), ("exec", "empty", "--", "true"), ("adopt", "empty", "--yes")):
        refused = newcomer.keyturn(*words)
        assert refused.returncode != 0, words
        assert told in refused.stderr, words
        assert refused.stderr.count("\n") == 1, words
    assert newcomer.files() == before
