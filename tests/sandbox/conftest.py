"""A sandbox per module, and real AWS clients for it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import awsrequest
from botocore.config import Config
from botocore.exceptions import ClientError

from keyturn_sandbox import AccessKey, Sandbox, Session

CONNECTED = 24
"""Clients that may keep a connection open; the sandbox serves 64 at once."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """An empty sandbox; tests add their own users under their own account IDs."""
    with Sandbox(tmp_path_factory.mktemp("sandbox"), seed=False) as running:
        yield running


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox with its seed, as a user finds it."""
    with Sandbox(tmp_path_factory.mktemp("seeded")) as running:
        yield running


@pytest.fixture(scope="session")
def boto() -> boto3.Session:
    """A boto3 that reads none of the machine's own settings and loads its models once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_CONFIG_FILE", "/dev/null")
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        patch.setenv("NO_PROXY", "127.0.0.1")
        return boto3.Session()


@pytest.fixture(scope="module")
def client(sandbox: Sandbox, boto: boto3.Session) -> Callable[..., Any]:
    """Return `client("sts", key_or_session)`: a boto3 client that signs with it and does not retry."""

    made: dict[tuple[str, str, str, str | None, str], Any] = {}

    def make(*key: Any) -> Any:
        """Return the client for `key`; the least recently used ones close their connections."""
        made[key] = made.pop(key, None) or new(*key)
        for old in list(made.values())[:-CONNECTED]:
            old.close()
        return made[key]

    def new(service: str, key_id: str, secret: str, token: str | None, region: str) -> Any:
        return boto.client(
            service,  # type: ignore[call-overload]  # the stubs know services by literal names only
            region_name=region,
            endpoint_url=sandbox.url,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(
                retries={"total_max_attempts": 1}, parameter_validation=False, proxies={}, read_timeout=5
            ),
        )

    def client_for(
        service: str, signer: AccessKey | Session | Mapping[str, str], *, region: str = "eu-west-1"
    ) -> Any:
        if isinstance(signer, Mapping):
            return make(
                service, signer["AccessKeyId"], signer["SecretAccessKey"], signer.get("SessionToken"), region
            )
        token = signer.token.reveal() if isinstance(signer, Session) else None
        return make(service, signer.key_id, signer.secret.reveal(), token, region)

    return client_for


@pytest.fixture(scope="session")
def refused() -> Callable[..., str]:
    """Return `refused("Code", status, call, **parameters)`: it checks code, status and request ID of a
    refused call, and returns the message."""

    def check(code: str, status: int, call: Callable[..., Any], **parameters: Any) -> str:
        with pytest.raises(ClientError) as excinfo:
            call(**parameters)
        answer = excinfo.value.response
        assert (answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
        assert len(answer["ResponseMetadata"]["RequestId"]) == 36
        return answer["Error"]["Message"]

    return check


@pytest.fixture(scope="session")
def aws() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return `aws(sandbox, "sts", "get-caller-identity")`: the real AWS CLI, in the sandbox's environment."""

    def run(sandbox: Sandbox, *words: str) -> subprocess.CompletedProcess[str]:
        environ = dict(sandbox.environ)
        program = Path(environ["PATH"].split(":")[0]) / "aws"
        return subprocess.run(
            [program, *words],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(autouse=True)
def unlimited_responses() -> Iterator[None]:
    """Let botocore read responses of any length, as in a program of its own. keyturn limits them in its
    process, which is this one if another test has called AWS in it."""
    pools: tuple[Any, ...] = (awsrequest.AWSHTTPConnectionPool, awsrequest.AWSHTTPSConnectionPool)
    limited = [pool.ConnectionCls for pool in pools]
    for pool, plain in zip(pools, (awsrequest.AWSHTTPConnection, awsrequest.AWSHTTPSConnection), strict=True):
        pool.ConnectionCls = plain
    yield
    for pool, connection in zip(pools, limited, strict=True):
        pool.ConnectionCls = connection
