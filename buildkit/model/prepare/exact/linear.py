"""Sums of products: convolution and matrix multiplication."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .arith import exponents, integers, power_of_two, split_bits
from .registry import MICROSOFT, Node, op

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from .arith import Array, Float

    # Numpy's own types know no index of mixed kinds and unknown length.
    Place = Any
    Operand = tuple[Float, npt.NDArray[np.int64]]

# Working sets that stay in a second-level cache; only speed depends on them.
_CHUNK = 1 << 17


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """How a kernel moves over the spatial axes; one entry for each axis.

    Attributes:
        kernel: size.
        strides: step of the output.
        dilations: step inside the kernel.
        before: padding at the beginning.
        after: padding at the end.
        out: size of the output.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    out: tuple[int, ...]

    @property
    def padded(self) -> bool:
        """Whether anything is added at a border."""
        return any(self.before) or any(self.after)

    def taps(self) -> Iterator[Place]:
        """For each place in the kernel, the index of its values in what `views` gives."""
        return ((..., *tap) for tap in np.ndindex(*self.kernel))

    def views(self, padded: Array) -> Array:
        """All windows of an array whose spatial axes are last: (…, *out, *kernel), a view."""
        rank = len(self.kernel)
        lead = padded.ndim - rank
        steps = padded.strides[lead:]
        shape = padded.shape[:lead] + self.out + self.kernel
        strides = (
            *padded.strides[:lead],
            *(a * b for a, b in zip(steps, self.strides, strict=True)),
            *(a * b for a, b in zip(steps, self.dilations, strict=True)),
        )
        return as_strided(padded, shape, strides, writeable=False)


def window(node: Node, size: Sequence[int], kernel: Sequence[int]) -> Window:
    """The window of a Conv or pooling node (ONNX operators Conv, MaxPool: ``auto_pad``, ``pads``).

    Args:
        node: where the attributes are.
        size: of the input's spatial axes.
        kernel: of the kernel's.
    """
    rank = len(size)
    strides = tuple(node.get("strides", [1] * rank))
    dilations = tuple(node.get("dilations", [1] * rank))
    pads = list(node.get("pads", [0] * (2 * rank)))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    auto = node.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        for axis in range(rank):
            out = -(-size[axis] // strides[axis])
            total = max((out - 1) * strides[axis] + spans[axis] - size[axis], 0)
            less, more = total // 2, total - total // 2
            pads[axis], pads[axis + rank] = (less, more) if auto == "SAME_UPPER" else (more, less)
    elif auto == "VALID":
        pads = [0] * (2 * rank)
    elif auto != "NOTSET":
        node.refuse(f"auto_pad {auto}")
    if min(pads) < 0:
        node.refuse("negative padding")
    outs = []
    for axis in range(rank):
        room = size[axis] + pads[axis] + pads[axis + rank] - spans[axis]
        steps = -(-room // strides[axis]) if node.get("ceil_mode", 0) else room // strides[axis]
        # A window that begins in the padding at the end is left out.
        if node.get("ceil_mode", 0) and steps * strides[axis] >= size[axis] + pads[axis]:
            steps -= 1
        outs.append(steps + 1)
    if min(outs) < 1:
        node.refuse("the kernel is larger than its input")
    after = [
        max(pads[a + rank], (outs[a] - 1) * strides[a] + spans[a] - size[a] - pads[a])
        for a in range(rank)
    ]
    return Window(
        kernel=tuple(kernel),
        strides=strides,
        dilations=dilations,
        before=tuple(pads[:rank]),
        after=tuple(after),
        out=tuple(outs),
    )


@op("Conv")
def conv(node: Node, x: Float, w: Float, bias: Float | None = None) -> Float:
    """Convolution: x (N, C, *spatial), w (M, C/group, *kernel) → (N, M, *out)."""
    win = window(node, x.shape[2:], w.shape[2:])
    return convolve(x, _kernel(node, w), bias, win, node.get("group", 1))


def _kernel(node: Node, w: Float) -> Operand:
    """Integers of a kernel (M, C/group, *kernel), one exponent for each output channel."""
    if "w" in node.cache:
        return cast("Operand", node.cache["w"])
    made = integers(w, split_bits(math.prod(w.shape[1:]))[1], range(1, w.ndim))
    if node.constant[1]:
        node.cache["w"] = made
    return made


def convolve(x: Float, kernel: Operand, bias: Float | None, win: Window, groups: int) -> Float:
    """Convolution of `x` (N, C, *spatial), one exponent for each sample."""
    whole_w, w_k = kernel
    bits, _ = split_bits(math.prod(whole_w.shape[1:]))
    along = tuple(range(1, x.ndim))
    y = np.empty((x.shape[0], whole_w.shape[0], *win.out))
    k_x = exponents(x.min(along), x.max(along)) - bits
    offset = np.zeros(whole_w.shape[0]) if bias is None else bias
    one_to_one = whole_w.shape[1] == 1 and whole_w.shape[0] == groups == x.shape[1]
    for n in range(x.shape[0]):
        down = float(power_of_two(-k_x[n]))
        up = power_of_two(k_x[n] + w_k.reshape(-1))
        if one_to_one:
            _depthwise(x[n], whole_w, win, down, y[n])
        else:
            _grouped(x[n], whole_w, win, down, y[n])
        shape = (-1,) + (1,) * (x.ndim - 2)
        for part in _parts(whole_w.shape[0], y[n, 0].size):
            y[n, part] *= up[part].reshape(shape)
            y[n, part] += offset[part].reshape(shape)
    return y


def _parts(count: int, size: int) -> list[slice]:
    step = max(1, _CHUNK // max(size, 1))
    return [slice(begin, min(begin + step, count)) for begin in range(0, count, step)]


def _whole_padded(x: Float, win: Window, down: float) -> Float:
    """Integers of `x` (C, *spatial) with zeros around."""
    sizes = [a + b + c for a, b, c in zip(win.before, x.shape[1:], win.after, strict=True)]
    padded = np.zeros((x.shape[0], *sizes)) if win.padded else np.empty((x.shape[0], *sizes))
    place: Place = (
        slice(None),
        *(slice(b, b + s) for b, s in zip(win.before, x.shape[1:], strict=True)),
    )
    inside = padded[place]
    np.multiply(x, down, out=inside)
    np.rint(inside, out=inside)
    return padded


def _depthwise(x: Float, w: Float, win: Window, down: float, y: Float) -> None:
    shape = (-1,) + (1,) * (x.ndim - 1)
    factors = w.reshape(w.shape[0], -1)
    for part in _parts(x.shape[0], max(x[0].size, y[0].size) * 2):
        views = win.views(_whole_padded(x[part], win, down))
        total = y[part]
        product = np.empty_like(total)
        for number, tap in enumerate(win.taps()):
            factor = factors[part, number].reshape(shape)
            if number == 0:
                np.multiply(views[tap], factor, out=total)
            else:
                np.multiply(views[tap], factor, out=product)
                total += product


def _grouped(x: Float, w: Float, win: Window, down: float, y: Float) -> None:
    """Matrix products over some rows of the output at a time, so that memory stays small."""
    groups = x.shape[0] // w.shape[1]
    matrix = w.reshape(groups, w.shape[0] // groups, -1)
    terms = matrix.shape[2]
    result = y.reshape(groups, matrix.shape[1], win.out[0], -1)
    rank = len(win.kernel)
    pointwise = terms == x.shape[0] // groups and not win.padded
    source = x if pointwise else _whole_padded(x, win, down)
    views = win.views(source.reshape(groups, -1, *source.shape[1:]))
    # (groups, channels, *out, *kernel) → (groups, channels, *kernel, *out)
    order = (0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
    views = views.transpose(order)
    row = math.prod(win.out[1:])
    step = max(1, _CHUNK // max(terms * groups * row, 1), min(win.out[0], -(-64 // row)))
    for begin in range(0, win.out[0], step):
        rows = slice(begin, min(begin + step, win.out[0]))
        piece = views[(slice(None),) * (2 + rank) + (rows,)]
        columns = np.empty(piece.shape)
        if pointwise:
            np.multiply(piece, down, out=columns)
            np.rint(columns, out=columns)
        else:
            np.copyto(columns, piece)
        made = matrix @ columns.reshape(groups, terms, -1)
        result[:, :, rows] = made.reshape(groups, matrix.shape[1], rows.stop - rows.start, -1)


@op("ConvTranspose")
def conv_transpose(node: Node, x: Float, w: Float, bias: Float | None = None) -> Float:
    """Transposed convolution: x (N, C, *spatial), w (C, M/group, *kernel) → (N, M, *out)."""
    rank = x.ndim - 2
    kernel = w.shape[2:]
    strides = node.get("strides", [1] * rank)
    dilations = node.get("dilations", [1] * rank)
    extra = list(node.get("output_padding", [0] * rank))
    pads = list(node.get("pads", [0] * (2 * rank)))
    groups = node.get("group", 1)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    auto = node.get("auto_pad", "NOTSET")
    if "output_shape" in node.attributes or auto not in ("NOTSET", "VALID"):
        node.refuse("output_shape or auto_pad")
    before = [spans[a] - 1 - pads[a] for a in range(rank)]
    after = [spans[a] - 1 - pads[a + rank] + extra[a] for a in range(rank)]
    if min(before + after) < 0:
        node.refuse("more padding than kernel")
    sizes = [(s - 1) * t + 1 for s, t in zip(x.shape[2:], strides, strict=True)]
    spread = np.zeros((*x.shape[:2], *sizes))
    places: Place = (..., *(slice(None, None, t) for t in strides))
    spread[places] = x
    # The same sums as a convolution with the kernel turned round and its channels exchanged.
    turned = np.flip(w, tuple(range(2, w.ndim)))
    turned = turned.reshape(groups, w.shape[0] // groups, *w.shape[1:]).swapaxes(1, 2)
    out = [s + b + a - p + 1 for s, b, a, p in zip(sizes, before, after, spans, strict=True)]
    win = Window(
        kernel=tuple(kernel),
        strides=(1,) * rank,
        dilations=tuple(dilations),
        before=tuple(before),
        after=tuple(after),
        out=tuple(out),
    )
    swapped = np.ascontiguousarray(turned).reshape(-1, w.shape[0] // groups, *kernel)
    return convolve(spread, _kernel(node, swapped), bias, win, groups)


def product(node: Node, a: Float, b: Float) -> Float:
    """``a @ b`` as numpy has it, one exponent for each row of `a` and each column of `b`.

    The integers of an operand that is constant are kept in ``node.cache``.
    """
    if a.ndim == 1:
        rows = product(node, a[None], b)
        return rows[..., 0] if b.ndim == 1 else rows[..., 0, :]
    if b.ndim == 1:
        return product(node, a, b[:, None])[..., 0]
    bits_a, bits_b = split_bits(a.shape[-1])
    whole_a, k_a = integers(a, bits_a, (-1,))
    if "b" not in node.cache:
        made = integers(b, bits_b, (-2,))
        if node.constant[1]:
            node.cache["b"] = made
    else:
        made = node.cache["b"]
    whole_b, k_b = made
    y: Float = np.matmul(whole_a, whole_b)
    return np.multiply(y, power_of_two(k_a + k_b), out=y)


@op("MatMul")
def matmul(node: Node, a: Array, b: Array) -> Array:
    """Matrix product as numpy has it, broadcasting the leading axes."""
    if a.dtype != np.float64:
        whole: Array = np.matmul(a, b)
        return whole
    return product(node, a, b)


@op("Gemm")
def gemm(node: Node, a: Float, b: Float, c: Float | None = None) -> Float:
    """``alpha * a' @ b' + beta * c`` with optional transposes."""
    y = product(
        node,
        a.T if node.get("transA", 0) else a,
        b.T if node.get("transB", 0) else b,
    )
    if node.get("alpha", 1.0) != 1.0:
        y *= float(node.get("alpha", 1.0))
    if c is not None:
        y += c if node.get("beta", 1.0) == 1.0 else c * node.get("beta", 1.0)
    return y


@op("FusedMatMul", domain=MICROSOFT)
def fused_matmul(node: Node, a: Float, b: Float) -> Float:
    """``alpha * a' @ b'``; the last two axes may be transposed first."""
    if node.get("transBatchA", 0) or node.get("transBatchB", 0):
        node.refuse("transposed batch")
    y = product(
        node,
        a.swapaxes(-1, -2) if node.get("transA", 0) else a,
        b.swapaxes(-1, -2) if node.get("transB", 0) else b,
    )
    y *= float(node.get("alpha", 1.0))
    return y
