"""An endpoint for a role of the caller: its cached sessions are valid until the configuration changes."""

from __future__ import annotations

import json

import pytest

from keyturn.delivery.endpoint.credential_source import ServiceCredentialSource
from keyturn.model.errors import KeyturnError
from tests.core.operations.conftest import Bench, bench, writer_timing
from tests.core.providers.test_roles_sources import ACCOUNT, key_environment, set_up, user_key

__all__ = ["bench", "writer_timing"]


@pytest.fixture
def source(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> ServiceCredentialSource:
    """Return the credential source of an endpoint whose program has a user's key in its environment."""
    set_up(bench.sandbox)
    for variable, value in key_environment(user_key(bench.sandbox, "one")).items():
        monkeypatch.setenv(variable, value)
    return ServiceCredentialSource(
        bench.service, "by-environment", bench.service.get_credentials("by-environment")
    )


def change_role(bench: Bench) -> None:
    """Point the profile to a role that the user may not assume."""
    text = bench.config.read_text()
    bench.config.write_text(text.replace(f"{ACCOUNT}:role/Shared", f"{ACCOUNT}:role/Machine"))


def test_once_its_settings_say_another_role_it_gives_no_session_of_the_old_one(
    bench: Bench, source: ServiceCredentialSource
) -> None:
    assert source.get_credentials() == source.get_credentials()
    assert bench.calls("AssumeRole") == 1
    change_role(bench)
    for minutes in (0, 10):
        bench.sandbox.move_clock(minutes * 60)
        with pytest.raises(KeyturnError, match="AssumeRole"):
            source.get_credentials()


def test_what_was_on_its_way_when_they_changed_is_not_kept(
    bench: Bench, source: ServiceCredentialSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.sandbox.move_clock(11 * 60)
    get_document = bench.service.get_credentials

    def get_late(name: str) -> str:
        document = get_document(name)
        change_role(bench)
        return document

    monkeypatch.setattr(bench.service, "get_credentials", get_late)
    assert json.loads(source.get_credentials())["SessionToken"]
    with pytest.raises(KeyturnError, match="AssumeRole"):
        source.get_credentials()
