"""Verification of AWS Signature Version 4 on the service side. Every signed byte is checked."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote

from keyturn.model.secret import Secret
from keyturn_sandbox.aws_errors import (
    incomplete_signature,
    missing_authentication,
    signature_mismatch,
    wrong_signature,
)

ALGORITHM = "AWS4-HMAC-SHA256"
WINDOW = timedelta(minutes=15)
"""Maximum difference between the request's time and the service's, in both directions, for STS and IAM.
"""
_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A received request, with everything that the signature covers."""

    method: str
    path: str
    query: str
    headers: Mapping[str, Sequence[str]]
    """Values in order by lower-case name."""
    body: bytes

    def header(self, name: str) -> str:
        """Return the values of a header joined as in the canonical request; empty if absent."""
        return ",".join(" ".join(value.split()) for value in self.headers.get(name, ()))


@dataclass(frozen=True, slots=True)
class Signature:
    """Contents of an `Authorization` header, not verified."""

    key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    stamp: str
    """`X-Amz-Date` as sent."""
    token: str | None
    """`X-Amz-Security-Token`, for a session."""


def claimed_key(request: HttpRequest) -> str:
    """Return the key ID in the request's signature, not verified; empty if there is none."""
    match = re.search(r"Credential=([\w]{1,128})/", request.header("authorization"), re.ASCII)
    return match[1] if match else ""


def read_signature(request: HttpRequest) -> Signature:
    """Parse the signature of a request and check its format.

    :raises Refusal: `MissingAuthenticationToken` if the request is not signed, `IncompleteSignature` or
        `SignatureDoesNotMatch` if the signature is not well-formed.
    """
    authorization = request.header("authorization")
    if not authorization:
        raise missing_authentication()
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise incomplete_signature(f"Unsupported AWS 'algorithm': '{algorithm[:40]}'")
    parts = dict(re.findall(r"(\w+)=([^,\s]*)", rest, re.ASCII))
    stamp = request.header("x-amz-date")
    missing = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if not parts.get(name)
    ]
    if not stamp:
        missing.append("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    if missing:
        raise incomplete_signature(" ".join(missing))
    scope = parts["Credential"].split("/")
    if len(scope) != 5:
        raise incomplete_signature(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term"
        )
    key_id, date, region, service, terminator = scope
    if terminator != "aws4_request":
        raise signature_mismatch("Credential should be scoped with a valid terminator: 'aws4_request'.")
    if not re.fullmatch(r"\d{8}T\d{6}Z", stamp, re.ASCII):
        raise incomplete_signature("Date must be in ISO-8601 'basic format'.")
    if stamp[:8] != date:
        raise signature_mismatch(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{date[:16]}' != '{stamp[:8]}', from '{stamp}'."
        )
    signed = tuple(parts["SignedHeaders"].split(";"))
    _check_signed(request, signed)
    token = request.header("x-amz-security-token") or None
    return Signature(key_id, date, region, service, signed, parts["Signature"], stamp, token)


def _check_signed(request: HttpRequest, signed: Sequence[str]) -> None:
    if list(signed) != sorted(set(signed)) or any(name != name.lower() for name in signed):
        raise wrong_signature()
    required = {"host", *(name for name in request.headers if name.startswith("x-amz-"))}
    for name in sorted(required.difference(signed)):
        label = "'Host' or ':authority'" if name == "host" else f"'{name}'"
        raise signature_mismatch(f"{label} must be a 'SignedHeader' in the AWS Authorization.")


def check_age(claim: Signature, now: datetime) -> None:
    """Reject a request signed more than 15 minutes before or after `now`, the *real* time.

    :raises Refusal: `SignatureDoesNotMatch` with AWS's message for either direction.
    """
    try:
        signed = datetime.strptime(claim.stamp, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        raise incomplete_signature("Date must be in ISO-8601 'basic format'.") from None
    earliest, latest = now - WINDOW, now + WINDOW
    if signed < earliest.replace(microsecond=0):
        raise signature_mismatch(
            f"Signature expired: {claim.stamp} is now earlier than {earliest.strftime(_STAMP)} "
            f"({now.strftime(_STAMP)} - 15 min.)"
        )
    if signed > latest:
        raise signature_mismatch(
            f"Signature not yet current: {claim.stamp} is still later than {latest.strftime(_STAMP)} "
            f"({now.strftime(_STAMP)} + 15 min.)"
        )


def check_signature(request: HttpRequest, claim: Signature, secret: Secret) -> None:
    """Recompute the signature and compare.

    :raises Refusal: `SignatureDoesNotMatch`.
    """
    scope = f"{claim.date}/{claim.region}/{claim.service}/aws4_request"
    digest = hashlib.sha256(_canonical(request, claim.signed_headers).encode("utf-8")).hexdigest()
    to_sign = f"{ALGORITHM}\n{claim.stamp}\n{scope}\n{digest}"
    key = b"AWS4" + secret.reveal().encode("utf-8")
    for part in (claim.date, claim.region, claim.service, "aws4_request"):
        key = hmac.digest(key, part.encode("utf-8"), "sha256")
    expected = hmac.digest(key, to_sign.encode("utf-8"), "sha256").hex()
    if not hmac.compare_digest(expected.encode("ascii"), claim.signature.encode("utf-8")):
        raise wrong_signature()


def _canonical(request: HttpRequest, signed: Sequence[str]) -> str:
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(request.query, keep_blank_values=True)
    )
    return "\n".join(
        (
            request.method,
            quote(request.path, safe="/-_.~%"),
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{request.header(name)}" for name in signed),
            "",
            ";".join(signed),
            hashlib.sha256(request.body).hexdigest(),
        )
    )
