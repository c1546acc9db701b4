"""Redaction of secrets in text from outside, because AWS quotes requests in errors and programs print their
settings.

The text must still explain the failure, so ARNs, paths, key ids and sentences are kept. In doubt a word is
masked.
"""

from __future__ import annotations

import re

_MASK = "***"
#: Limit, longer than any displayed line. The rest is dropped before the search.
_MAX_CHARS = 8000

_VALUE = r"""(?:"[^"]*"?|'[^']*'?|[^\s,;&"'}\]]+)"""
_SCHEME = r"(?:(?:bearer|basic|negotiate|digest)\s+)?"
#: Names whose value is always secret. They do not match error codes (`ExpiredToken: ...`).
_SENSITIVE_NAMES = (
    r"(?<![A-Za-z])(?:aws[-_]?|x[-_]amz[-_])?(?:secret(?:[-_]?access)?(?:[-_]?key)?|(?:[a-z]+[-_])?token"
    r"|(?:session|security|access|refresh|id|auth|bearer|webidentity)token|(?:client|consumer)[-_]?secret"
    r"|(?:saml[-_]?)?assertion|samlresponse|pass(?:word|wd|phrase)|authorization"
    r"|(?:api|private)[-_]?key|(?:set-)?cookie|seed|otp|(?:token|mfa)[-_]?code)"
)
#: A sentence after a name, for example `no aws_session_token: AWS refuses it`, is no value.
_SENTENCE = r"(?<=token: )[A-Za-z]{1,10} [a-z]+\b"
_SENSITIVE_WORDS = (
    "secret|token|passw|passphrase|authorization|signature|assertion|samlresponse|seed|otp|cookie"
    "|api_?key|private_?key"
)
_NAMED_SECRETS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"({_SENSITIVE_NAMES}[\"']?\s*:\s*)(?!{_SENTENCE}){_SCHEME}{_VALUE}",
        rf"([\w-]{{0,40}}(?:{_SENSITIVE_WORDS})(?![\w-]*(?:file|url|endpoint)\b)[\w-]{{0,40}}[\"']?\s*=\s*){_SCHEME}{_VALUE}",
        r"(\bcode=)[^\s&]{6,}",
        rf"(--[\w-]{{0,40}}(?:{_SENSITIVE_WORDS}|password)(?![\w-])\s+){_VALUE}",
        r"(\b(?:bearer|basic)\s+)(?=\S*[0-9=._])[\w.~+/=-]{8,}",
    )
)
#: User and password of a URL, such as a proxy's. The password may hold a slash or another `@`.
_URL_LOGIN = re.compile(r"(\b[a-z][a-z0-9+.-]{0,19}://)[^\s\"'<>]*@", re.IGNORECASE)
_KNOWN_SECRETS = re.compile(r"(?i:age-secret-key-\w*)|(?<![\w+/])eyJ[\w-]{8,}(?:\.[\w-]+)*\.?")
_WORD = re.compile(
    r"(?P<arn>\barn:aws[\w-]*:[\w-]*:[\w-]*:\d*:[\w+=,.@/:*-]+)"
    r"|(?P<uuid>\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b)"
    r"|(?P<id>\bA[A-Z]{2}A[A-Z2-7]{12,17}\b)"
    r"|(?P<sso>\bAWSReservedSSO_[\w+=,.@-]+_[0-9a-f]{16}\b)"
    r"|(?P<hex>\b[0-9a-fA-F]{32,}\b)"
    r"|(?P<seed>(?<![\w/+])[A-Z2-7]{16,}(?![\w/+])=*)"
    r"|(?P<run>[A-Za-z0-9+/=_.~%-]{32,})"
)
#: Part of a run that looks like a word or a number.
_READABLE = re.compile(r"[A-Z]?[a-z]{3,}|[A-Z]{3,}|[0-9]{4,}")
_SINGLE_CLASS = re.compile(r"[a-z]{28}|[A-Z]{28}|[0-9]{28}")
#: A run of these characters with a plus is base64, because paths and names contain none.
_BASE64 = re.compile(r"[A-Za-z0-9+/=]+")
_KEY = re.compile(r"(?=.*[a-z])(?=.*[A-Z])[A-Za-z0-9+/]{36,44}")


def redacted(text: str) -> str:
    """Return `text` with `***` in place of secret access keys, tokens, passwords, age identities, TOTP seeds,
    logins in URLs and the values of sensitive names.
    """
    if len(text) > _MAX_CHARS:
        # Drop the last, truncated word, because a truncated secret may not be recognised.
        text = re.sub(r"\S*\Z", "…", text[:_MAX_CHARS])
    text = _URL_LOGIN.sub(rf"\1{_MASK}@", text)
    for pattern in _NAMED_SECRETS:
        text = pattern.sub(rf"\1{_MASK}", text)
    return _WORD.sub(_mask_if_secret, _KNOWN_SECRETS.sub(_MASK, text))


def _mask_if_secret(match: re.Match[str]) -> str:
    word = match.group()
    if match.lastgroup in ("arn", "uuid", "id", "sso"):
        return word
    return _MASK if match.lastgroup in ("seed", "hex") or _is_random(word) else word


def _is_random(run: str) -> bool:
    """Return True if `run` is a key or token rather than a path, host or name. In a random run few characters
    are part of readable words or numbers, or the words are many and short.
    """
    if "+" in run and _BASE64.fullmatch(run):
        return True
    remainder, words = _READABLE.subn("", run)
    unreadable = sum(map(str.isalnum, remainder))
    return (
        unreadable >= 14
        or bool(_KEY.fullmatch(run) and unreadable + words >= 13)
        or bool(_SINGLE_CLASS.search(run))
    )
