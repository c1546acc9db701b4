"""What botocore raises, in the tree of :mod:`keyturn.errors`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from keyturn.aws.answered import Strange
from keyturn.aws.refusals import refusal
from keyturn.aws.unreached import own_words, unreached
from keyturn.clock import system_clock
from keyturn.errors import AwsError, AwsRefused, NeedsLogin, ProfileBroken, Unanswered, Unreachable

Answer = TypeVar("Answer")


def in_our_words(what: str, act: Callable[[], Answer]) -> Answer:
    """Runs one call and turns whatever botocore raises into the tree of :mod:`keyturn.errors`."""
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    try:
        return act()
    except boto.ClientError as error:
        raise refusal(what, error.response, system_clock()) from None
    except (boto.ParamValidationError, boto.InvalidRegionError, ValueError) as error:
        if isinstance(error, Strange) or _while_reading(error):
            raise Unanswered(
                what, _NOT_AS_SENT, "Try again; if it stays so, look for a proxy on the way"
            ) from None
        raise AwsRefused(
            what, own_words(error), "Correct the profile's definition", code="ValidationError"
        ) from None
    except ResponseParserError:
        why = "the answer was not AWS's (a proxy or a sign-in page of the network may have answered)"
        raise Unanswered(what, why, "Check the network, then try again") from None
    except (boto.ConnectionError, boto.HTTPClientError) as error:
        kind = Unreachable if isinstance(error, _unsent()) else Unanswered
        raise kind(what, unreached(error), "Check the network, then try again") from None
    except (KeyError, AttributeError, TypeError):
        raise Unanswered(
            what, _NOT_AS_SENT, "Try again; if it stays so, look for a proxy on the way"
        ) from None
    except boto.BotoCoreError as error:
        raise AwsError(what, own_words(error), "Correct the profile's definition") from None


_NOT_AS_SENT = "the answer is not of the form that AWS's answers have"


def _unsent() -> tuple[type[Exception], ...]:
    """What botocore raises where there was nobody to send the request to."""
    from botocore import exceptions as boto

    return (
        boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ProxyConnectionError, boto.SSLError,
    )  # fmt: skip


def _while_reading(error: Exception) -> bool:
    """Whether botocore failed at an answer, not at what it was about to send."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == "botocore.parsers":
            return True
        trace = trace.tb_next
    return False


def native_error(what: str, error: Exception, profile: str) -> AwsError | ProfileBroken | NeedsLogin:
    from botocore import exceptions as boto

    sso = (boto.SSOTokenLoadError, boto.UnauthorizedSSOTokenError, boto.TokenRetrievalError, boto.SSOError)
    if isinstance(error, sso):
        return NeedsLogin(what, own_words(error), f"Run: aws sso login --profile {profile}")
    if isinstance(error, getattr(boto, "LoginError", ())):
        return NeedsLogin(what, own_words(error), f"Run: aws login --profile {profile}")
    if isinstance(error, boto.ClientError):
        return refusal(what, error.response, system_clock())
    if isinstance(error, (boto.ConnectionError, boto.HTTPClientError)):
        return Unreachable(what, unreached(error), "Check the network, then try again")
    return ProfileBroken(what, own_words(error), "Correct the profile's definition")
