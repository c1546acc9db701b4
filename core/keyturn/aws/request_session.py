"""botocore session of one request: region, endpoints, proxies and CA bundle of the process that asked.

botocore looks these variables up in `os.environ`, in the process that asks for others too. Here they come
from the request, for every client of the session, including those that botocore's credential providers
create. Everything else of the environment stays this process's own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # not in typeshed

from botocore.config import Config
from botocore.configprovider import ConfigChainFactory, ConfiguredEndpointProvider
from botocore.session import Session

from keyturn.system.ca_bundle import CaBundle
from keyturn.system.caller_environment import CallerEnvironment
from keyturn.system.caller_variables import NAMES


class RequestSession(Session):
    """Session with the environment of a caller.

    :param caller: None for this process's own environment, which botocore reads itself.
    """

    def __init__(self, profile: str | None = None, caller: CallerEnvironment | None = None) -> None:
        super().__init__(profile=profile)
        self._caller = caller
        self._ca_bundle: CaBundle | None = None
        self._shared_config: dict[str, Any] | None = None
        if caller is not None:
            self._use_variables(caller.variables)

    def _use_variables(self, variables: Mapping[str, str]) -> None:
        """Look up the settings that have one of the caller's variables in `variables`."""
        store, chains = self.get_component("config_store"), ConfigChainFactory(self, environ=variables)
        for name, (key, variable, default, convert) in self.session_var_map.items():
            if variable in NAMES:
                chain = chains.create_config_chain(name, variable, key, default, convert)
                store.set_config_provider(name, chain)

    def use_config(self, config: dict[str, Any]) -> None:
        """Use the :attr:`full_config` of another session. Nobody changes it."""
        self._shared_config = config

    @property
    def full_config(self) -> dict[str, Any]:
        """See :attr:`botocore.session.Session.full_config`."""
        return super().full_config if self._shared_config is None else self._shared_config

    def ca_bundle_file(self) -> str | None:
        """Return the CA bundle that the environment or the shared config file names, in botocore's order."""
        variables = os.environ if self._caller is None else self._caller.variables
        path = self.get_config_variable("ca_bundle") or variables.get("REQUESTS_CA_BUNDLE")
        return path if isinstance(path, str) and path.strip() else None

    def use_ca_bundle(self, bundle: CaBundle | None) -> None:
        """Trust `bundle`, or the authorities of botocore if it is None, in every client of this session."""
        self._ca_bundle = bundle
        self.set_config_variable("ca_bundle", value=True if bundle is None else bundle.path)

    def create_client(self, service_name: str, *args: Any, **options: Any) -> Any:
        """See :meth:`botocore.session.Session.create_client`."""
        if self._caller is None:
            return super().create_client(service_name, *args, **options)
        options["endpoint_url"] = options.get("endpoint_url") or self._configured_endpoint(service_name)
        proxies = self._caller.proxies()
        no_proxy = proxies.pop("no", "")

        def create(used: Mapping[str, str]) -> Any:
            own: Any = Config(
                proxies=dict(used),
                ignore_configured_endpoint_urls=True,  # type: ignore[call-arg]  # not in the stubs
            )
            config = options.get("config")
            merged = own if config is None else config.merge(own)
            return super(RequestSession, self).create_client(
                service_name, *args, **{**options, "config": merged}
            )

        if not proxies:
            return create({})
        if no_proxy:
            # The host is known only once botocore has resolved the endpoint.
            direct = create({})
            host = urlsplit(direct.meta.endpoint_url).netloc
            if proxy_bypass_environment(host, {"no": no_proxy}):
                return direct
        return create(proxies)

    def _configured_endpoint(self, service_name: str) -> str | None:
        """Return the endpoint that the caller's variables or the shared config file name, in botocore's
        order, or None.
        """
        if self._caller is None or self.get_config_variable("ignore_configured_endpoint_urls"):
            return None
        provider = ConfiguredEndpointProvider(
            self.full_config, self.get_scoped_config(), service_name, environ=self._caller.variables
        )
        url = provider.provide()
        return url if isinstance(url, str) and url else None
