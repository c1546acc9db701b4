"""Caches of the AWS CLI and SDKs, read and never written: native sessions and sign-ins."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from keyturn.awsconfig import login_tokens
from keyturn.awsconfig.loader import read_regular
from keyturn.model.profile import Login, Session
from keyturn.model.text import from_aws_time

#: Longest token. A longer file counts as missing, as where botocore reads it for keyturn.
_MAX_BYTES = 1024 * 1024
#: Most files of a cache that are watched for changes; the AWS CLI never deletes old ones.
_MAX_WATCHED = 2000


def _expand(path: str) -> str:
    """Expand variables and `~` in `path`; keep those that are unknown, as AWS tools do."""
    return os.path.expanduser(os.path.expandvars(path))  # noqa: PTH111  # Path.expanduser raises there


class SdkCaches:
    """The caches under `~/.aws`. Each folder is listed once, and each SSO token is read once, because there
    may be thousands of profiles.

    A missing, truncated, malformed or too long file counts as no cache.
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
        self._sso_logins: dict[tuple[str | None, str], Login | None] = {}

    def stamp(self) -> tuple[object, ...]:
        """Return name, inode, size and modification time of the files in the caches, to detect changes. The
        AWS CLI writes some in place, so those of the folders would not tell.
        """
        return tuple(map(_stamp_of_files, (self._sso, self._cli, self._login)))

    def sso_login(self, *, session: str | None, start_url: str) -> Login | None:
        """Return the sign-in of an sso-session, or of the start URL of a profile without one."""
        key = session, start_url
        if key not in self._sso_logins:
            token = self._load(self._sso, lambda: _sha1(session or start_url))
            self._sso_logins[key] = login_tokens.sso_login(token, session, start_url)
        return self._sso_logins[key]

    def sso_role(self, account: str, role: str, *, session: str | None, start_url: str) -> Session | None:
        """Return the role credentials that the AWS CLI has cached for an SSO profile."""
        cache_key = {"roleName": role, "accountId": account}
        cache_key |= {"sessionName": session} if session else {"startUrl": start_url}
        return self._credentials(lambda: _sha1(json.dumps(cache_key, sort_keys=True, separators=(",", ":"))))

    def assumed_role(self, arguments: Mapping[str, object]) -> Session | None:
        """Return the session that the AWS CLI has cached for an AssumeRole call with these arguments."""
        return self._credentials(lambda: _sha1(json.dumps(dict(arguments), sort_keys=True)))

    def console_login(self, login_session: str) -> tuple[Session | None, Login | None]:
        """Return the session that `aws login` has cached, and its sign-in."""
        token = self._load(
            self._login, lambda: hashlib.sha256(login_session.encode("utf-8", "surrogatepass")).hexdigest()
        )
        credentials = token.get("accessToken")
        if not isinstance(credentials, dict):
            return None, None
        session = _session(credentials.get("accessKeyId"), credentials.get("expiresAt"))
        return session, login_tokens.console_login(token, login_session)

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
            content = read_regular(folder / file, _MAX_BYTES + 1) or b""
            table = json.loads(content) if len(content) <= _MAX_BYTES else None
        except (OSError, ValueError, RecursionError):
            return {}
        return table if isinstance(table, dict) else {}


def _stamp_of_files(folder: Path) -> tuple[object, ...]:
    try:
        with os.scandir(folder) as entries:
            return tuple(map(_stamp_of_file, islice(entries, _MAX_WATCHED)))
    except OSError:
        return ()


def _stamp_of_file(entry: os.DirEntry[str]) -> tuple[object, ...]:
    try:
        stat = entry.stat()
    except OSError:
        return (entry.name,)
    return entry.name, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _session(key_id: object, expires: object) -> Session | None:
    expiry = from_aws_time(expires)
    if expiry is None or not isinstance(key_id, str):
        return None
    return Session(key_id, None, expiry)


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
