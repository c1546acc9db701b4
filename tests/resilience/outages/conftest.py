"""A person with managed profiles whose AWS has a bad day."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from keyturn.model.secret import Secret
from keyturn.service import CredentialService
from keyturn_sandbox import Sandbox
from keyturn_sandbox.seed_managed import plant_managed
from tests.resilience.outages.failures import Failure


@dataclass
class Stricken:
    """The sandbox, and a keeper that holds its vault open in this process."""

    sandbox: Sandbox
    service: CredentialService
    recovery_key: Secret

    def suffer(self, failure: Failure) -> None:
        """From now on it goes wrong."""
        failure.strike(self.sandbox)
        for name, value in failure.environ.items():
            os.environ[name] = value.format(port=self.sandbox.port)

    def recover(self) -> None:
        """All is well again."""
        self.sandbox.faults.clear()
        for name in {*os.environ} - {*self.sandbox.environ}:
            del os.environ[name]
        os.environ.update(self.sandbox.environ)


@pytest.fixture(scope="module")
def stricken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stricken]:
    """For a whole module; botocore reads the process's own environment, so that is the sandbox's meanwhile."""
    before = dict(os.environ)
    with Sandbox(tmp_path_factory.mktemp("baddays") / "sandbox") as sandbox:
        os.environ.clear()
        os.environ.update(sandbox.environ)
        try:
            keeper = CredentialService.from_environ(os.environ, use_agent=False)
            recovery_key = plant_managed(sandbox, keeper)
            keeper.unlock_here(recovery_key=recovery_key)
            yield Stricken(sandbox, keeper, recovery_key)
        finally:
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture(autouse=True)
def fair_weather(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nobody inherits another test's bad day."""
    yield
    if "stricken" in request.fixturenames:
        request.getfixturevalue("stricken").recover()
