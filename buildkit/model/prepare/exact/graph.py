"""Walks an ONNX graph and hands every float tensor to an observer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from . import elementwise, linear, pooling, shaping
from .errors import UnsupportedError
from .registry import Node, find

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .arith import Array

    Observer = Callable[[str, Array], None]

# Importing a module of operators fills the registry.
OPERATORS = (elementwise, linear, pooling, shaping)


class Graph:
    """A graph whose operators are all known, ready to run batch by batch.

    Args:
        model: checked ONNX model.

    Raises:
        UnsupportedError: it has an operator, or a form of one, without an exact form.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        opsets = {one.domain: one.version for one in model.opset_import}
        self.constants = {t.name: shaping.widened(to_array(t)) for t in graph.initializer}
        if graph.sparse_initializer:
            msg = "sparse initializers have no exact form"
            raise UnsupportedError(msg)
        self.inputs = tuple(i.name for i in graph.input if i.name not in self.constants)
        self.outputs = tuple(o.name for o in graph.output)
        self.folded: list[str] = []
        self._nodes: list[Node] = []
        for proto in graph.node:
            node = parse(proto, opsets, self.constants)
            function = find(node)
            if all(node.constant):
                values = self._call(node, function, self.constants)
                self.constants.update(values)
                self.folded.extend(values)
            else:
                self._nodes.append(node)
        self._last = {name: i for i, node in enumerate(self._nodes) for name in node.inputs}
        for name in self.outputs:
            self._last[name] = len(self._nodes)

    def run(self, feed: Mapping[str, Array], observe: Observer) -> dict[str, Array]:
        """Run one batch.

        Args:
            feed: array for each input; floats of any width.
            observe: called with the name and values of each input and each node's output, as
                soon as it is known; must not keep or change the array.

        Returns:
            The graph's outputs.

        Raises:
            UnsupportedError: a node takes a form that is not known.
        """
        values = {name: shaping.widened(feed[name]) for name in self.inputs}
        for name, value in values.items():
            observe(name, value)
        for number, node in enumerate(self._nodes):
            made = self._call(node, find(node), values)
            values.update(made)
            for name, value in made.items():
                observe(name, value)
            for name in {*node.inputs, *made}:
                if self._last.get(name, -1) <= number:
                    values.pop(name, None)
        return {
            name: values[name] if name in values else self.constants[name] for name in self.outputs
        }

    def _call(self, node: Node, function: Any, values: Mapping[str, Array]) -> dict[str, Array]:
        inputs = [
            None if not name else values[name] if name in values else self.constants[name]
            for name in node.inputs
        ]
        # Underflow and overflow are ordinary here; what matters is checked where it matters.
        with np.errstate(all="ignore"):
            try:
                result = function(node, *inputs)
            except (TypeError, ValueError, IndexError, KeyError) as error:
                msg = f"{node.op} ({node.name or node.outputs[0]}): {error}"
                raise UnsupportedError(msg) from error
        made = result if isinstance(result, tuple) else (result,)
        return {
            name: np.asarray(value) for name, value in zip(node.outputs, made, strict=False) if name
        }


def parse(proto: onnx.NodeProto, opsets: Mapping[str, int], constants: Mapping[str, Any]) -> Node:
    """One node as the operators see it.

    Raises:
        UnsupportedError: it holds a graph (If, Loop, Scan).
    """
    attributes: dict[str, Any] = {}
    for attribute in proto.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, onnx.GraphProto):
            msg = f"operator {proto.op_type} has no exact form"
            raise UnsupportedError(msg)
        if isinstance(value, onnx.TensorProto):
            value = to_array(value)
        attributes[attribute.name] = value.decode() if isinstance(value, bytes) else value
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    return Node(
        name=proto.name,
        op=proto.op_type,
        domain=domain,
        opset=opsets.get(domain, opsets.get("ai.onnx", 1)),
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attributes=attributes,
        constant=tuple(not name or name in constants for name in proto.input),
    )


def to_array(tensor: onnx.TensorProto) -> Array:
    """The values of a tensor.

    Raises:
        UnsupportedError: text, or another kind that is not a number.
    """
    value = np.asarray(numpy_helper.to_array(tensor))
    if value.dtype.kind not in "fiub":
        msg = f"tensor {tensor.name or '(unnamed)'} holds {value.dtype}, which has no exact form"
        raise UnsupportedError(msg)
    return value
