"""Caches of the AWS CLI and SDKs, read and never written: the expiry of native sessions."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from keyturn.awsconfig.loader import read_regular
from keyturn.model.profile import Session
from keyturn.model.text import from_aws_time

#: Beyond any token. What is longer is cut, and then no JSON.
_MAX_BYTES = 1024 * 1024


def _expand(path: str) -> str:
    """Expand variables and `~` in `path`; keep those that are unknown, as AWS tools do."""
    return os.path.expanduser(os.path.expandvars(path))  # noqa: PTH111  # Path.expanduser raises there


class SdkCaches:
    """The caches under `~/.aws`. Each folder is listed once, because there may be thousands of profiles.

    A missing, truncated or malformed file counts as no cache.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        sandbox = environ.get("KEYTURN_SANDBOX")  # a shell that joins one keeps its own HOME
        home = Path(sandbox) / "home" if sandbox else Path(environ.get("HOME") or _expand("~"))
        aws = home / ".aws"
        self._sso = aws / "sso" / "cache"
        self._cli = aws / "cli" / "cache"
        login_cache = environ.get("AWS_LOGIN_CACHE_DIRECTORY")
        self._login = aws / "login" / "cache" if login_cache is None else Path(_expand(login_cache))
        self._names: dict[Path, frozenset[str]] = {}

    def sso_token_expiry(self, session_or_url: str) -> datetime | None:
        """Return the expiry of the sign-in of an SSO session (by name) or start URL."""
        token = self._load(self._sso, lambda: _sha1(session_or_url))
        if "accessToken" not in token:
            return None
        return from_aws_time(token.get("expiresAt"))

    def sso_role(self, account: str, role: str, *, session: str | None, start_url: str) -> Session | None:
        """Return the role credentials that the AWS CLI has cached for an SSO profile."""
        cache_key = {"roleName": role, "accountId": account}
        cache_key |= {"sessionName": session} if session else {"startUrl": start_url}
        return self._credentials(lambda: _sha1(json.dumps(cache_key, sort_keys=True, separators=(",", ":"))))

    def assumed_role(self, arguments: Mapping[str, object]) -> Session | None:
        """Return the session that the AWS CLI has cached for an AssumeRole call with these arguments."""
        return self._credentials(lambda: _sha1(json.dumps(dict(arguments), sort_keys=True)))

    def login(self, login_session: str) -> Session | None:
        """Return the session of `aws login`."""
        token = self._load(
            self._login, lambda: hashlib.sha256(login_session.encode("utf-8", "surrogatepass")).hexdigest()
        ).get("accessToken")
        if not isinstance(token, dict):
            return None
        return _session(token.get("accessKeyId"), token.get("expiresAt"))

    def _credentials(self, make_name: Any) -> Session | None:
        credentials = self._load(self._cli, make_name).get("Credentials")
        if not isinstance(credentials, dict):
            return None
        return _session(credentials.get("AccessKeyId"), credentials.get("Expiration"))

    def _load(self, folder: Path, make_name: Any) -> dict[str, Any]:
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(os.listdir(folder))  # noqa: PTH208  # names are all that is wanted
            except OSError:
                self._names[folder] = frozenset()
        if not self._names[folder]:
            return {}
        file = f"{make_name()}.json"
        if file not in self._names[folder]:
            return {}
        try:
            table = json.loads(read_regular(folder / file, _MAX_BYTES) or b"")
        except (OSError, ValueError, RecursionError):
            return {}
        return table if isinstance(table, dict) else {}


def _session(key_id: object, expires: object) -> Session | None:
    expiry = from_aws_time(expires)
    if expiry is None or not isinstance(key_id, str):
        return None
    return Session(key_id, None, expiry)


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
