"""Variables that are set but empty, or hold a variable: they mean to keyturn what they mean to AWS tools."""

from __future__ import annotations

import hashlib
import json

import pytest

from tests.end_to_end.person import BIN, Person

LOGIN = "arn:aws:sts::111122223333:assumed-role/Admin/me"


def _listed(person: Person) -> list[str]:
    return [row["name"] for row in json.loads(person.does("list", "--json"))["profiles"]]


def _listed_by_the_aws_cli(person: Person) -> list[str]:
    code = "from botocore.session import Session; print(*Session().full_config['profiles'], sep='\\n')"
    done = person.run(str(BIN / "python"), "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("variable", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
@pytest.mark.parametrize("value", ["", " ", "$NOWHERE", "/dev/null", "$HOME/.aws/config"])
def test_the_list_has_the_profiles_that_aws_tools_have(newcomer: Person, variable: str, value: str) -> None:
    newcomer.environ |= {variable: value, "NOWHERE": ""}
    assert _listed(newcomer) == _listed_by_the_aws_cli(newcomer)


def test_without_a_config_file_nothing_is_written(newcomer: Person) -> None:
    newcomer.makes_vault()
    before = newcomer.files()
    newcomer.environ["AWS_CONFIG_FILE"] = ""
    for words in (("adopt", "ci-deploy", "--yes"), ("set", "ci-deploy", "region=eu-west-3")):
        refused = newcomer.keyturn(*words)
        assert (refused.returncode, refused.stdout) == (2, ""), words
        assert refused.stderr == (
            "keyturn: Could not write the config file: AWS_CONFIG_FILE names no file, so AWS tools use none. "
            "Set AWS_CONFIG_FILE to a path, or unset it\n"
        )
    del newcomer.environ["AWS_CONFIG_FILE"]
    assert newcomer.files() == before
    assert newcomer.row("ci-deploy")["managed"] is False


def test_without_a_credentials_file_nothing_is_delivered_there(newcomer: Person) -> None:
    newcomer.makes_vault()
    newcomer.does("adopt", "ci-deploy", "--yes")
    before = newcomer.files()
    newcomer.does("agent", "stop")
    newcomer.environ["AWS_SHARED_CREDENTIALS_FILE"] = ""
    refused = newcomer.keyturn("deliver", "ci-deploy", "--to", "credentials-file")
    assert refused.returncode == 2, refused.stderr
    assert "AWS_SHARED_CREDENTIALS_FILE names no file" in refused.stderr
    assert refused.stderr.count("\n") == 1
    del newcomer.environ["AWS_SHARED_CREDENTIALS_FILE"]
    assert newcomer.files() == before
    assert newcomer.row("ci-deploy")["delivery"] == "credential-process"


def test_a_cache_of_logins_is_found_through_a_variable(newcomer: Person) -> None:
    with newcomer.config.open("a") as file:
        file.write(f"\n[profile console]\nlogin_session = {LOGIN}\nregion = eu-west-1\n")
    folder = newcomer.sandbox.home / "logins"
    folder.mkdir()
    name = hashlib.sha256(LOGIN.encode()).hexdigest()
    token = {"accessToken": {"accessKeyId": "ASIAQQQQQQQQQQQQQQQQ", "expiresAt": "2126-11-30T00:00:00Z"}}
    (folder / f"{name}.json").write_text(json.dumps(token))
    newcomer.environ |= {"AWS_LOGIN_CACHE_DIRECTORY": "$PLACE/logins", "PLACE": str(newcomer.sandbox.home)}
    assert newcomer.row("console")["key_id"] == "ASIAQQQQQQQQQQQQQQQQ"


def test_an_empty_aws_profile_names_none(newcomer: Person) -> None:
    refused = newcomer.keyturn("refresh", extra={"AWS_PROFILE": "", "AWS_DEFAULT_PROFILE": "ci-deploy"})
    assert (refused.returncode, refused.stderr) == (
        2,
        "keyturn: Missing profile: AWS_PROFILE is empty. Give a profile\n",
    )
