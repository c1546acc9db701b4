"""Operations: use cases with a name, whose arguments and result are JSON, so that the agent can run them for
another process.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from enum import Enum
from functools import cached_property, update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from keyturn.model.json_codec import from_table, to_table
from keyturn.model.secret import Secret
from keyturn.operations.context import Context

P = ParamSpec("P")
R = TypeVar("R")


class Operation(Generic[P, R]):
    """Function of a context and typed arguments that can also be called with JSON.

    :param name: its name on the wire.
    :param function: the use case; its first parameter is the context.
    :param check: raises what the operation would raise, as far as that shows while the vault is locked, so
        that no passphrase is asked for in vain and nothing is recorded. It takes the same arguments.
    :param keys: the JSON key of each parameter whose name on the wire differs.
    """

    def __init__(
        self,
        name: str,
        function: Callable[Concatenate[Context, P], R],
        check: Callable[..., object] | None,
        keys: Mapping[str, str],
    ) -> None:
        update_wrapper(self, function)
        self.name = name
        self.function = function
        self.check = check
        self._keys = keys

    def __call__(self, context: Context, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(context, *args, **kwargs)

    def arguments(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, object]:
        """Return the arguments of a call as JSON."""
        bound = self._signature.bind(None, *args, **kwargs)
        bound.apply_defaults()
        _context, *named = bound.arguments.items()
        return {self._keys.get(name, name): _argument_to_json(value) for name, value in named}

    def run(self, context: Context, arguments: Mapping[str, Any]) -> object:
        """Run the operation with JSON arguments and return its result as JSON. Unknown keys are ignored.

        :raises KeyError: or TypeError, ValueError, OverflowError: if an argument is missing or has the wrong
            type.
        :raises KeyturnError: if the operation fails.
        """
        _context, *parameters = self._signature.parameters.values()
        keywords: dict[str, Any] = {}
        for parameter in parameters:
            key = self._keys.get(parameter.name, parameter.name)
            if key in arguments or parameter.default is inspect.Parameter.empty:
                keywords[parameter.name] = _argument_from_json(self._hints[parameter.name], arguments[key])
        return self._result_to_json(self.function(context, **keywords))  # type: ignore[call-arg]  # bound by name

    def result_from_json(self, value: Any) -> R:
        """Return the result that another process sent as JSON."""
        kind = self._hints["return"]
        if get_origin(kind) is tuple:
            return tuple(value)  # type: ignore[return-value]  # of plain values
        return from_table(kind, value) if hasattr(kind, "__dataclass_fields__") else value  # type: ignore[no-any-return]

    def _result_to_json(self, result: R) -> object:
        if isinstance(result, tuple):
            return list(result)
        return to_table(result) if hasattr(result, "__dataclass_fields__") else result

    @cached_property
    def _signature(self) -> inspect.Signature:
        return inspect.signature(self.function)

    @cached_property
    def _hints(self) -> dict[str, Any]:
        return get_type_hints(self.function)


def operation(
    name: str, *, check: Callable[..., object] | None = None, **keys: str
) -> Callable[[Callable[Concatenate[Context, P], R]], Operation[P, R]]:
    """Return a decorator that makes a function an operation; see :class:`Operation`. `keys` renames
    parameters on the wire.
    """

    def decorate(function: Callable[Concatenate[Context, P], R]) -> Operation[P, R]:
        return Operation(name, function, check, keys)

    return decorate


def _argument_to_json(value: object) -> object:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, timedelta):
        return int(value.total_seconds())
    if isinstance(value, Enum):
        return str(value)
    return list(value) if isinstance(value, tuple | list) else value


def _argument_from_json(hint: Any, value: Any) -> Any:
    """Convert an argument to the type `hint`. Text and numbers are converted too, because the wire format has
    always allowed it.
    """
    options = [option for option in get_args(hint) if option is not type(None)]
    if type(None) in get_args(hint):
        return None if value is None else _argument_from_json(options[0], value)
    if options:
        return tuple(_argument_from_json(options[0], item) for item in value)
    if hint is timedelta:
        return timedelta(seconds=int(value))
    return Secret(str(value)) if hint is Secret else hint(value)
