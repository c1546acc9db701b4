"""Why no whole answer came, in words that tell a person where to look: the name, the way, the proxy, the certificate."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from urllib.parse import urlsplit

from keyturn.redaction import redacted

#: An exception's own words are shown where nothing better is known, this long at most.
_LONGEST = 200
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EINVAL)


def unreached(error: Exception) -> str:  # noqa: PLR0911  # one return for each row of the table
    """What a connection error of botocore's means; its cause lies some exceptions deep.

    :param error: with botocore's `kwargs`, which name the endpoint or the proxy.
    """
    import http.client
    import socket
    import ssl

    named = getattr(error, "kwargs", {})
    if "proxy_url" in named:
        return f"the proxy {_host(named['proxy_url'])} cannot be reached"
    host = _host(named.get("endpoint_url", ""))
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate of {host} is not trusted ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return (
                f"no secure connection to {host} ({(cause.reason or 'TLS failed').replace('_', ' ').lower()})"
            )
        if isinstance(cause, socket.gaierror):
            return f"the name of {host} is not found"
        if isinstance(cause, ConnectionRefusedError):
            return f"{host} refuses connections"
        if isinstance(cause, OSError) and cause.errno in _NO_WAY:
            return f"there is no way to {host} from here"
        if isinstance(cause, http.client.BadStatusLine) and not isinstance(cause, ConnectionError):
            return f"what answers as {host} does not speak HTTP"
    if any(isinstance(cause, TimeoutError) or "Timeout" in type(cause).__name__ for cause in causes):
        return f"{host} did not answer in time"
    if any(isinstance(cause, (ConnectionError, http.client.HTTPException)) for cause in causes):
        return f"{host} broke the connection off before its answer was whole"
    text = own_words(error)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def own_words(error: Exception) -> str:
    """What an exception that is not ours says, on one line. Some repeat what they were given: Python's HTTP client a
    header that it cannot send, session token and all; botocore what a `credential_process` complained with."""
    return " ".join(redacted(str(error)).split())


def _causes(error: BaseException) -> Iterator[BaseException]:
    """`error` and every exception that it was made from, each once."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [*getattr(one, "kwargs", {}).values(), *one.args, getattr(one, "reason", None)]
        waiting += [one.__cause__, one.__context__]


def _host(url: object) -> str:
    """Whom a URL leads to, without the name and password that a proxy's may hold."""
    try:
        parts = urlsplit(str(url))
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "AWS"
    return f"{parts.hostname}{port}" if parts.hostname else "AWS"
