"""Variables of a caller's environment that travel to the agent with each request. The module is cheap to
import, because AWS clients wait for it in `credential-process`."""
# ruff: noqa: PTH109, PTH111, PTH118 - importing pathlib costs a tenth of the fast path's whole budget

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

CA_BUNDLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
PROXIES = (
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "all_proxy", "no_proxy",
)  # fmt: skip
ENDPOINTS = (
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_IAM", "AWS_ENDPOINT_URL_SSO",
    "AWS_ENDPOINT_URL_SSO_OIDC", "AWS_ENDPOINT_URL_SIGNIN",
)  # fmt: skip
IGNORE_ENDPOINTS = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
#: Every variable that decides how AWS is reached. Nothing else of a caller's environment is sent.
NAMES = (
    "AWS_REGION", "AWS_DEFAULT_REGION", *CA_BUNDLES, *PROXIES, *ENDPOINTS, IGNORE_ENDPOINTS,
    "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_STS_REGIONAL_ENDPOINTS",
)  # fmt: skip


def caller_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of `environ` that decide how AWS is reached. Paths are absolute, because the agent
    works in another folder.

    In a CGI script `HTTP_PROXY` is left out, as Python's own HTTP clients do, because a web client sets it by
    the header `Proxy`.
    """
    variables = {name: environ[name] for name in NAMES if name in environ}
    if "REQUEST_METHOD" in environ:
        variables.pop("HTTP_PROXY", None)
    for name in CA_BUNDLES:
        value = variables.get(name, "")
        if value and not value.startswith("/"):
            variables[name] = _absolute(value)
    return variables


def _absolute(path: str) -> str:
    try:
        return os.path.join(os.getcwd(), os.path.expanduser(path))
    except FileNotFoundError:  # the working directory was deleted
        return path
