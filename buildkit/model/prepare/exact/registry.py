"""The table of operators: one small function each; a new operator is a new entry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np

from .errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .arith import Array

    Function = Callable[..., Array | tuple[Array, ...]]

F = TypeVar("F", bound="Callable[..., Any]")

MICROSOFT = "com.microsoft"

TABLE: dict[tuple[str, str], Function] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One node, as an operator sees it.

    Attributes:
        name: for messages.
        op: operator, without its domain.
        domain: empty for ONNX's own.
        opset: version of the domain that the model imports.
        inputs: names; empty for an optional input left out.
        outputs: names; empty for an optional output left out.
        attributes: parsed values (int, float, str, list, array).
        constant: for each input, whether it is the same in every batch.
        cache: what an operator wants to keep between batches about constant inputs.
    """

    name: str
    op: str
    domain: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    constant: tuple[bool, ...]
    cache: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str, default: Any) -> Any:
        """An attribute's value, or `default` where the node does not say.

        Attributes are float32, so a default is made one too: what is said and what is meant by
        saying nothing are then the same number.
        """
        if name not in self.attributes and isinstance(default, float):
            return float(np.float32(default))
        return self.attributes.get(name, default)

    def refuse(self, why: str) -> NoReturn:
        """Say that this form of the operator is not known.

        Raises:
            UnsupportedError: always.
        """
        msg = f"{self.op} ({self.name or self.outputs[0]}): {why}"
        raise UnsupportedError(msg)


def op(*names: str, domain: str = "") -> Callable[[F], F]:
    """Register a function for operators: ``function(node, *inputs) -> array or tuple of arrays``.

    Inputs that the node leaves out are None (or absent at the end). Floats come as float64,
    integers as int64, booleans as bool; an operator must not change its inputs.
    """

    def register(function: F) -> F:
        for name in names:
            TABLE[domain, name] = function
        return function

    return register


def plain(*names: str, domain: str = "") -> Callable[[F], F]:
    """As `op`, for a function that needs only the inputs: ``function(*inputs)``."""

    def register(function: F) -> F:
        op(*names, domain=domain)(lambda _node, *inputs: function(*inputs))
        return function

    return register


def find(node: Node) -> Function:
    """The function for a node.

    Raises:
        UnsupportedError: there is none.
    """
    try:
        return TABLE[node.domain, node.op]
    except KeyError:
        known = f"{node.domain}.{node.op}" if node.domain else node.op
        msg = f"operator {known} has no exact form"
        raise UnsupportedError(msg) from None
