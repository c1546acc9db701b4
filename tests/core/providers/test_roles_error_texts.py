"""Failures reported by AWS or by another program: printed, and never printed or stored with a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.aws.errors import translate_errors
from keyturn.model.errors import AwsError, AwsRefused, KeyturnError
from keyturn.providers import mfa_command
from keyturn.storage.activity import ActivityEntry
from tests.core.operations.conftest import Bench

CANARY = "CANARYsecret"


def files_with_canary(bench: Bench) -> list[Path]:
    """Return keyturn's files that hold the canary."""
    folder = bench.service.paths.profiles_file.parent
    places = {path for root in (folder, bench.sandbox.home) for path in root.rglob("*") if path.is_file()}
    shared = bench.sandbox.home / ".aws"
    return sorted(
        path for path in places if shared not in path.parents and CANARY.encode() in path.read_bytes()
    )


def test_a_canonical_string_that_aws_quotes_is_told_without_the_token() -> None:
    from botocore.exceptions import ClientError

    message = (
        "The request signature we calculated does not match the signature you provided.\n\n"
        "The Canonical String for this request should have "
        f"been\n'POST\n/\n\nhost:sts\nx-amz-security-token:{CANARY}\n'"
    )

    with pytest.raises(AwsRefused) as excinfo, translate_errors("sts:AssumeRole"):
        raise ClientError({"Error": {"Code": "SignatureDoesNotMatch", "Message": message}}, "AssumeRole")
    line = excinfo.value.line()
    assert CANARY not in line
    assert "SignatureDoesNotMatch: The request signature we calculated does not match" in line


def test_what_a_foreign_process_complains_with_is_told_and_kept_without_its_secret(bench: Bench) -> None:
    program = bench.sandbox.home / "leaky"
    program.write_text(
        '#!/bin/sh\nsecret=CANARY; echo "no route, SecretAccessKey=${secret}secret" >&2; exit 1\n'
    )
    program.chmod(0o755)
    with bench.config.open("a") as file:
        file.write(f"\n[profile leaky]\ncredential_process = {program}\nregion = us-east-1\n")
    with pytest.raises(KeyturnError) as excinfo:
        bench.service.refresh("leaky")
    assert "no route, SecretAccessKey=***" in excinfo.value.line()
    failure = bench.service.context.profile_state("leaky").failure
    assert failure is not None
    assert "SecretAccessKey=***" in failure.line
    assert files_with_canary(bench) == []


def test_a_failure_is_kept_without_a_secret_wherever_its_words_come_from(bench: Bench) -> None:
    desk = bench.service.context
    desk.record_failure("ci-deploy", "refresh", AwsError("Could not refresh ci-deploy", f"token={CANARY}"))
    desk.activity.add(ActivityEntry(desk.clock(), "ci-deploy", "refresh", f"token={CANARY}", ok=False))
    assert files_with_canary(bench) == []
    failure = desk.profile_state("ci-deploy").failure
    assert failure is not None
    assert failure.line == "Could not refresh ci-deploy: token=***"
    assert [operation.result for operation in desk.activity.read()][-1] == "token=***"


@pytest.mark.parametrize(
    ("says", "text"),
    [
        ("code 123 456 refused", "code ****** refused"),
        ("code 123-456 refused", "code ****** refused"),
        ("code 1 2 3 4 5 6 refused", "code ****** refused"),
        ("seed=JBSWY3DPEHPK3PXPCANARY", "seed=***"),
        ("bad secret JBSWY3DPEHPK3PXPCANARY here", "bad secret *** here"),
        ("no device 12345", "no device 12345"),
    ],
)
def test_what_an_mfa_command_complains_with_shows_no_code_and_no_seed(says: str, text: str) -> None:
    with pytest.raises(mfa_command.CommandFailed) as excinfo:
        mfa_command.run(("sh", "-c", f"echo '{says}' >&2; exit 1"), "GAHT12345678", {"PATH": "/usr/bin:/bin"})
    assert excinfo.value.why == f"it exited with 1: {text}"
