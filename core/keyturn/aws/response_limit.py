"""Limits on what botocore reads: responses, the output of a `credential_process`, token files and caches.

botocore has no setting for this. Its clients, and its fetchers for containers and instances, create their
HTTP sessions themselves, so the class of the connections in its pools is replaced, which is urllib3's
extension point (`ConnectionCls`). All bytes of a response count, headers, chunk lengths and trailers too,
because some of these lines are read whole whatever their length. botocore never decompresses a response.
"""

from __future__ import annotations

import contextlib
import io
import re
import time
from collections.abc import Callable, Sequence
from http.client import HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keyturn.aws.errors import MalformedResponse, ResponseTooLong
from keyturn.system import foreign_program

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from botocore.session import Session

#: Longest body of a response. The answers of STS and IAM have a few KiB.
MAX_BYTES = 1024 * 1024
#: Longest response with its headers and framing.
_MAX_MESSAGE = MAX_BYTES + 64 * 1024
#: Longest time for one response, beyond the time limit of every operation. A read timeout starts anew with
#: each byte.
MAX_SECONDS = 60.0
#: Longest output of a `credential_process`. The AWS SDK for Java reads 64,000 bytes.
MAX_PROCESS_BYTES = 64 * 1024
#: AWS accepts a web identity token of 20,000 characters.
MAX_TOKEN_BYTES = 64 * 1024


class LimitedStream(io.RawIOBase):
    """The bytes of one response.

    :raises ResponseTooLong: in a read beyond the limit.
    :raises TimeoutError: in a read after `MAX_SECONDS`.
    """

    def __init__(self, raw: io.RawIOBase, clock: Callable[[], float] = time.monotonic) -> None:
        self._raw = raw
        self._clock = clock
        self._left = _MAX_MESSAGE
        self._deadline = clock() + MAX_SECONDS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        if self._clock() > self._deadline:
            raise TimeoutError("the response took too long")
        count = self._raw.readinto(buffer)
        self._left -= count or 0
        if self._left < 0:
            raise ResponseTooLong
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class LimitedResponse(HTTPResponse):
    """A response that is refused while it is read, if it is too long."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fp = io.BufferedReader(LimitedStream(self.fp.detach()))

    def begin(self) -> None:
        super().begin()
        if self.length is not None and self.length > MAX_BYTES:
            raise ResponseTooLong


def limit_responses() -> None:
    """Make all HTTP connections of botocore in this process read limited responses."""
    from botocore import awsrequest

    pools: tuple[Any, ...] = (awsrequest.AWSHTTPConnectionPool, awsrequest.AWSHTTPSConnectionPool)
    for pool in pools:
        connection = pool.ConnectionCls
        if connection.response_class is not LimitedResponse:
            pool.ConnectionCls = type(
                f"Limited{connection.__name__}", (connection,), {"response_class": LimitedResponse}
            )


def limit_session(session: Session) -> None:
    """Make a botocore session refuse what its parsers would expand."""
    session.register("before-parse", _check_body)


_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*?\sencoding\s*=\s*["']([^"']*)""")
_PLAIN_ENCODINGS = (b"utf-8", b"utf8", b"us-ascii", b"iso-8859-1")
#: Most elements, attributes and values in a response. Each costs a parser a hundred times its length; the
#: answers that are asked for have a few hundred.
_MAX_PARTS = 20_000


def _check_body(**event: Any) -> None:
    """Check the body of a response before it is parsed. Entities may expand it a hundredfold, and another
    encoding may hide them; no response of AWS has either.

    :raises ResponseTooLong: if it is longer than `MAX_BYTES`.
    :raises MalformedResponse: if a parser would need far more memory than that.
    """
    body = event["response_dict"].get("body")
    if not isinstance(body, bytes):
        return
    if len(body) > MAX_BYTES:
        raise ResponseTooLong
    encoding = _ENCODING.match(body)
    is_hidden = b"\0" in body or (encoding is not None and encoding[1].lower() not in _PLAIN_ENCODINGS)
    if is_hidden or b"<!ENTITY" in body or sum(map(body.count, (b"<", b"=", b","))) > _MAX_PARTS:
        raise MalformedResponse("the response is not a valid AWS response")


class LimitedProcess:
    """A `credential_process` that botocore runs for a source profile of its own accord. It has limits, and is
    ended with its group when it reaches one.
    """

    def __init__(self, argv: Sequence[str], **_pipes: int) -> None:
        self._argv = argv
        self.returncode: int | None = None

    def communicate(self) -> tuple[bytes, bytes]:
        """Return stdout and stderr.

        :raises ValueError: if it reaches a limit.
        :raises OSError: if it does not start.
        """
        limits = foreign_program.Limits(MAX_SECONDS, MAX_PROCESS_BYTES)
        try:
            result = foreign_program.run(self._argv, limits, children=foreign_program.Children.KEEP)
        except foreign_program.CannotStart as failure:
            raise failure.error from None
        if result.end is foreign_program.End.TOO_LATE:
            raise ValueError(f"its credential_process took longer than {MAX_SECONDS:g} s")
        if result.end is foreign_program.End.TOO_LONG:
            raise ValueError(f"its credential_process printed more than {MAX_PROCESS_BYTES // 1024} KiB")
        self.returncode = result.status
        return result.stdout, result.stderr


class LimitedTokenLoader:
    """Reads a web identity token; see botocore's `FileWebIdentityTokenLoader`."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self) -> str:
        """:raises ValueError: if the file is longer than `MAX_TOKEN_BYTES`."""
        with Path(self._path).open("rb") as file:
            token = file.read(MAX_TOKEN_BYTES + 1)
        if len(token) > MAX_TOKEN_BYTES:
            raise ValueError(f"its web_identity_token_file is longer than {MAX_TOKEN_BYTES} bytes")
        return token.decode("utf-8")


class LimitedFileCache:
    """A cache of botocore's sign-in tokens, in which a file that is too long counts as missing."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __contains__(self, key: str) -> bool:
        return key in self._cache

    def __getitem__(self, key: str) -> Any:
        path = Path(self._cache._convert_cache_key(key))  # noqa: SLF001  # the only way to the path
        with contextlib.suppress(OSError):
            if path.stat().st_size > MAX_BYTES:
                raise KeyError(key)
        return self._cache[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._cache[key] = value

    def __delitem__(self, key: str) -> None:
        del self._cache[key]


def _limit_caches(holder: object) -> None:
    """Limit the token caches that a provider holds, itself or in its token provider."""
    from botocore.utils import JSONFileCache

    for name, value in list(vars(holder).items()):
        if isinstance(value, JSONFileCache):
            setattr(holder, name, LimitedFileCache(value))
        elif name in ("_token_provider", "_token_loader") and value is not None:
            _limit_caches(value)


def limit_provider(provider: Any) -> Any:
    """Return a credential provider of botocore, whose sources are limited now. Its constructor takes them,
    but what creates it cannot pass them on.
    """
    if provider.METHOD == "custom-process":
        provider._popen = LimitedProcess  # noqa: SLF001  # see above
    elif provider.METHOD == "assume-role-with-web-identity":
        provider._token_loader_cls = LimitedTokenLoader  # noqa: SLF001  # see above
    elif provider.METHOD in ("sso", "login"):
        _limit_caches(provider)
    builder = getattr(provider, "_profile_provider_builder", None)
    if builder is not None:
        providers = builder.providers
        builder.providers = lambda *args, **kwargs: [
            limit_provider(each) for each in providers(*args, **kwargs)
        ]
    return provider
