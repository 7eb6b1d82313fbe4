"""Two ONNX files: graph, initialisers, ranges, metadata.

Format: ONNX IR (onnx.proto3). A file is parsed in memory and never followed elsewhere: external
data is not read. `onnx` is imported only when two models differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildkit import digests
from buildkit.why import values
from buildkit.why.types import Effect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import onnx

    Tensors = Mapping[str, "onnx.TensorProto"]

# The longest that a protocol buffer can be.
MOST_BYTES = 2 << 30

_LIMITS = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}


def differences(a: bytes, b: bytes, where: str = "") -> Iterator[Effect]:
    """What differs in two model files, in the order graph, initialisers, ranges, metadata.

    Args:
        a: one file.
        b: the other.
        where: for the effects.
    """
    models = [_parsed(data) for data in (a, b)]
    before, after = models
    if before is None or after is None:
        said = ["ONNX" if model else "no ONNX model" for model in models]
        yield _effect("bytes", "content", said[0], said[1], where)
        return
    found = [
        *_nodes(before, after, where),
        *_tensors(before, after, where),
        *_metadata(before, after, where),
    ]
    yield from found
    if not found:
        yield _effect(
            "bytes", "the file's own form", digests.of_bytes(a), digests.of_bytes(b), where
        )


def _effect(
    kind: str, subject: str, before: str, after: str, where: str, *, detail: str = ""
) -> Effect:
    return Effect(
        kind=kind,
        subject=subject,
        before=before,
        after=after,
        part="ranges" if kind == "range" else "quantised",
        where="" if kind == "range" else where,  # where the lock names them too
        detail=detail,
    )


def _parsed(data: bytes) -> onnx.ModelProto | None:
    import onnx  # noqa: PLC0415 - costs a tenth of a second, and most answers do not need it
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - as above

    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError, RecursionError):
        return None
    return model if model.HasField("graph") else None


def _hash(message: Any) -> str:
    return digests.of_bytes(message.SerializeToString(deterministic=True))


def _nodes(a: onnx.ModelProto, b: onnx.ModelProto, where: str) -> Iterator[Effect]:
    before, after = (_named(model.graph.node) for model in (a, b))
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            kinds = [node.op_type if node else "" for node in (old, new)]
            yield _effect("node", name, kinds[0], kinds[1], where)
            continue
        for key, left, right in values.moved(_node(old), _node(new)):
            subject = f"{name} ({new.op_type if new.op_type == old.op_type else 'node'}) {key}"
            yield _effect("node", subject, values.said(left), values.said(right), where)
    common = before.keys() & after.keys()
    orders = [[name for name in side if name in common] for side in (before, after)]
    if orders[0] != orders[1]:
        at = next(n for n, pair in enumerate(zip(*orders, strict=True)) if pair[0] != pair[1])
        yield _effect("graph", "order of the nodes", orders[0][at], orders[1][at], where)
    shapes = [
        {
            f"{group} {each.name}": each
            for group in ("input", "output", "value_info")
            for each in getattr(model.graph, group)
        }
        for model in (a, b)
    ]
    for name in sorted({*shapes[0], *shapes[1]}):
        said = [_shape(side[name]) if name in side else "" for side in shapes]
        if said[0] != said[1]:
            yield _effect("graph", name, said[0], said[1], where)


def _named(nodes: Iterable[onnx.NodeProto]) -> dict[str, onnx.NodeProto]:
    """Nodes by name, those without one by what they give; a second of one name gets a number."""
    found: dict[str, onnx.NodeProto] = {}
    seen: dict[str, int] = {}
    for node in nodes:
        name = node.name or f"→ {next(iter(node.output), '')}"
        seen[name] = seen.get(name, 0) + 1
        found[name if seen[name] == 1 else f"{name} #{seen[name]}"] = node
    return found


def _node(node: onnx.NodeProto) -> dict[str, Any]:
    return {
        "operator": f"{node.domain}.{node.op_type}".lstrip("."),
        "inputs": list(node.input),
        "outputs": list(node.output),
        "documentation": node.doc_string,
        "attribute": {each.name: _attribute(each) for each in node.attribute},
    }


def _attribute(attribute: onnx.AttributeProto) -> Any:
    import onnx  # noqa: PLC0415 - see `_parsed`

    kinds = onnx.AttributeProto
    if attribute.type in {kinds.INT, kinds.FLOAT, kinds.INTS, kinds.FLOATS}:
        return values.said(onnx.helper.get_attribute_value(attribute))
    if attribute.type == kinds.STRING:
        return attribute.s.decode(errors="replace")
    return _hash(attribute)


def _shape(value: onnx.ValueInfoProto) -> str:
    import onnx  # noqa: PLC0415 - see `_parsed`

    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        return _hash(value)
    shape = [
        each.dim_param or (str(each.dim_value) if each.HasField("dim_value") else "?")
        for each in tensor.shape.dim
    ]
    kinds = onnx.TensorProto.DataType
    kind = kinds.Name(tensor.elem_type) if tensor.elem_type in kinds.values() else "?"
    return f"{kind.lower()}[{', '.join(shape)}]"


def _tensors(a: onnx.ModelProto, b: onnx.ModelProto, where: str) -> Iterator[Effect]:
    before, after = ({each.name: each for each in model.graph.initializer} for model in (a, b))
    ranges = [_ranges(model, tensors) for model, tensors in ((a, before), (b, after))]
    told: set[str] = set()
    for name in sorted({*ranges[0], *ranges[1]}):
        (left, used), (right, others) = (side.get(name, ("", ())) for side in ranges)
        if left != right:
            told.update(used, others)
            yield _effect("range", name, left, right, where)
    for name in sorted({*before, *after} - told):
        old, new = before.get(name), after.get(name)
        if old is None or new is None:
            said = [_tensor(tensor) if tensor else "" for tensor in (old, new)]
            yield _effect("initialiser", name, said[0], said[1], where)
        elif _hash(old) != _hash(new):
            yield _values(name, old, new, where)


def _ranges(model: onnx.ModelProto, tensors: Tensors) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Tensor → the range that its scale and zero point stand for, and the names of those two."""
    found = {}
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or len(node.input) < 3:
            continue
        pair = [_array(tensors[name]) for name in node.input[1:3] if name in tensors]
        if len(pair) != 2 or any(each is None or each.size != 1 for each in pair):
            continue
        scale, zero = pair
        limits = _LIMITS.get(zero.dtype.name)
        if limits is not None:
            ends = [(limit - int(zero.item())) * float(scale.item()) for limit in limits]
            found[node.input[0]] = (f"[{ends[0]!r}, {ends[1]!r}]", tuple(node.input[1:3]))
    return found


def _array(tensor: onnx.TensorProto) -> Any:
    """The values; nothing when they are elsewhere, or not what the header says."""
    import numpy as np  # noqa: PLC0415 - see `_parsed`
    import onnx  # noqa: PLC0415 - as above

    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        return None
    # A header may claim any shape; only what is there is looked at.
    if int(np.prod([float(size) for size in tensor.dims] or [1.0])) > 2 * MOST_BYTES:
        return None
    try:
        return onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def _tensor(tensor: onnx.TensorProto) -> str:
    import onnx  # noqa: PLC0415 - see `_parsed`

    kinds = onnx.TensorProto.DataType
    kind = kinds.Name(tensor.data_type) if tensor.data_type in kinds.values() else "?"
    return f"{kind.lower()}{list(tensor.dims)} {_hash(tensor)}"


def _values(name: str, old: onnx.TensorProto, new: onnx.TensorProto, where: str) -> Effect:
    """How many values differ, and by how much."""
    import numpy as np  # noqa: PLC0415 - see `_parsed`

    said = _tensor(old), _tensor(new)
    left, right = _array(old), _array(new)
    detail = ""
    comparable = left is not None and right is not None
    if comparable and (left.shape, left.dtype) == (right.shape, right.dtype):
        moved = (left != right) & ~((left != left) & (right != right))  # noqa: PLR0124 - not a number
        detail = f"{int(moved.sum())} of {left.size} values differ"
        if moved.any() and left.dtype.kind not in "OSUb":
            with np.errstate(all="ignore"):
                apart = np.abs(left.astype(np.float64) - right.astype(np.float64))[moved]
            detail += f", by at most {float(np.max(apart)):.6g}"
    return _effect("initialiser", name, *said, where, detail=detail)


def _metadata(a: onnx.ModelProto, b: onnx.ModelProto, where: str) -> Iterator[Effect]:
    for key, before, after in values.moved(_facts(a), _facts(b)):
        yield _effect("metadata", key, values.said(before), values.said(after), where)


def _facts(model: onnx.ModelProto) -> dict[str, Any]:
    """Everything but the graph's nodes and tensors."""
    lists = {
        name: [_hash(each) for each in found]
        for name, found in (
            ("functions", model.functions),
            ("training_info", model.training_info),
            ("sparse_initializer", model.graph.sparse_initializer),
            ("quantization_annotation", model.graph.quantization_annotation),
        )
    }
    return {
        "ir_version": model.ir_version,
        "opset": {each.domain or "ai.onnx": each.version for each in model.opset_import},
        "producer_name": model.producer_name,
        "producer_version": model.producer_version,
        "domain": model.domain,
        "model_version": model.model_version,
        "doc_string": model.doc_string,
        "properties": {each.key: each.value for each in model.metadata_props},
        "graph": {"name": model.graph.name, "doc_string": model.graph.doc_string},
        **lists,
    }
