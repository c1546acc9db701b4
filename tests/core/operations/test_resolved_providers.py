"""One botocore session resolves many profiles as a session for each of them would."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.credentials import AssumeRoleProvider, ProfileProviderBuilder, create_credential_resolver
from botocore.session import Session

from keyturn.aws.botocore_providers import resolved_providers

CONFIG = """
[profile process]
credential_process = tool --of process
[profile role]
role_arn = arn:aws:iam::111122223333:role/x
source_profile = keys
[profile keys-in-config]
aws_access_key_id = AKIAIOSFODNN7EXAMPLE
aws_secret_access_key = s
[profile both]
credential_process = tool
[profile nothing]
region = eu-west-1
"""
CREDENTIALS = """
[keys]
aws_access_key_id = AKIAIOSFODNN7EXAMPLE
aws_secret_access_key = s
[both]
aws_access_key_id = AKIAIOSFODNN7EXAMPLE
aws_secret_access_key = s
"""
FOUND = {
    "process": ("custom-process", "tool --of process"),
    "role": ("assume-role", ""),
    "keys-in-config": ("config-file", ""),
    "both": ("shared-credentials-file", ""),
    "keys": ("shared-credentials-file", ""),
    "nothing": ("none", ""),
}


@pytest.fixture
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text(CONFIG)
    (tmp_path / "credentials").write_text(CREDENTIALS)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.mark.usefixtures("_files")
def test_every_profile_is_resolved_by_the_provider_that_botocore_uses() -> None:
    assert dict(zip(FOUND, resolved_providers(FOUND), strict=True)) == FOUND
    for name, (method, _) in FOUND.items():
        if method in ("shared-credentials-file", "config-file"):
            credentials = Session(profile=name).get_credentials()
            assert credentials is not None
            assert credentials.method == method


@pytest.mark.usefixtures("_files")
def test_the_order_is_that_of_botocores_own_chain() -> None:
    session = Session(profile="both")
    chain = [provider.METHOD for provider in create_credential_resolver(session).providers]
    builder = ProfileProviderBuilder(session)
    own = [provider.METHOD for provider in builder.providers("both", disable_env_vars=True)]
    start = chain.index(AssumeRoleProvider.METHOD)
    assert chain[start : start + 1 + len(own)] == [AssumeRoleProvider.METHOD, *own]
