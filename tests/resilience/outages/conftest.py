"""A user with managed profiles whose AWS fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

import pytest

from keyturn.awsconfig import writer
from keyturn.model.secret import Secret
from keyturn.service import CredentialService
from keyturn.vault import passphrase
from keyturn_sandbox import Sandbox
from keyturn_sandbox.seed_managed import plant_managed
from tests.core.vault import weak_age
from tests.resilience.outages.failures import Failure
from tests.support.instant_timing import instant_timing


@dataclass
class OutageMachine:
    """The sandbox, and a service that holds its vault open in this process."""

    sandbox: Sandbox
    service: CredentialService
    recovery_key: Secret

    def start_failure(self, failure: Failure) -> None:
        """Start a failure."""
        failure.start(self.sandbox)
        for name, value in failure.environ.items():
            os.environ[name] = value.format(port=self.sandbox.port)

    def end_failure(self) -> None:
        """End all failures."""
        self.sandbox.faults.clear()
        for name in {*os.environ} - {*self.sandbox.environ}:
            del os.environ[name]
        os.environ.update(self.sandbox.environ)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OutageMachine]:
    """Return one for a whole module; the process's own environment is the sandbox's, because botocore reads
    it."""
    before = dict(os.environ)
    with Sandbox(tmp_path_factory.mktemp("baddays") / "sandbox") as sandbox:
        os.environ.clear()
        os.environ.update(sandbox.environ)
        try:
            with mock.patch.object(writer, "Timing", instant_timing):
                # A copy, because a failure changes where the endpoint leads, not which one it is.
                service = CredentialService.from_environ(dict(os.environ), use_agent=False)
            with mock.patch.object(passphrase, "seal", weak_age.seal):
                recovery_key = plant_managed(sandbox, service)
            service.unlock_here(recovery_key=recovery_key)
            yield OutageMachine(sandbox, service, recovery_key)
        finally:
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture(autouse=True)
def clear_failures(request: pytest.FixtureRequest) -> Iterator[None]:
    """Clear the failures of the test before."""
    yield
    if "machine" in request.fixturenames:
        request.getfixturevalue("machine").end_failure()
