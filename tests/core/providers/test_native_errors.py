"""Errors of keyturn for the exceptions of botocore's credential providers. Table."""

from __future__ import annotations

import sys

import pytest
from botocore import exceptions as boto

from keyturn.aws.errors import native_error
from keyturn.model.errors import AwsError, KeyturnError, NeedsLogin, ProfileBroken

SSO, CONSOLE = "Run: aws sso login --profile 'my dev'", "Run: aws login --profile 'my dev'"
#: Exception, the error that it becomes, and its hint.
ERRORS: list[tuple[Exception, type[KeyturnError], str]] = [
    (boto.UnauthorizedSSOTokenError(), NeedsLogin, SSO),
    (boto.SSOTokenLoadError(error_msg="x"), NeedsLogin, SSO),
    (boto.TokenRetrievalError(provider="sso", error_msg="x"), NeedsLogin, SSO),
    (boto.LoginRefreshRequired(), NeedsLogin, CONSOLE),
    (boto.LoginTokenLoadError(error_msg="x"), NeedsLogin, CONSOLE),
    (
        boto.LoginInsufficientPermissions(),
        AwsError,
        "Ask an administrator for the policy SignInLocalDevelopmentAccess",
    ),
    (
        boto.MissingDependencyException(msg="x"),
        ProfileBroken,
        f"Install it for keyturn: {sys.executable} -m pip install 'botocore[crt]'",
    ),
    (boto.InvalidConfigError(error_msg="x"), ProfileBroken, "Correct the profile's definition"),
]


@pytest.mark.parametrize(("error", "kind", "hint"), ERRORS, ids=[type(each[0]).__name__ for each in ERRORS])
def test_an_exception_of_a_provider_becomes_an_error_with_its_remedy(
    error: Exception, kind: type[KeyturnError], hint: str
) -> None:
    made = native_error("Could not get credentials of my dev", error, "my dev")
    assert type(made) is kind
    assert made.hint == hint
    assert made.line().startswith("Could not get credentials of my dev: ")
