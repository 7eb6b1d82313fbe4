"""The second half of `exact_reference`: products, windows, and operators that only move values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from exact_reference import (
    TABLE,
    Tensor,
    add,
    broadcast,
    build,
    div,
    free_bits,
    indices,
    integers,
    mul,
    op,
    scaled,
    single,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from exact_reference import Attributes, Index


def halves(terms: int) -> tuple[int, int]:
    """Bits of the left and of the right operand."""
    bits = free_bits(terms)
    return bits // 2, bits - bits // 2


def dot(left: tuple[list[int], int], right: tuple[list[int], int]) -> float:
    total = sum(a * b for a, b in zip(left[0], right[0], strict=True))
    return scaled(total, left[1] + right[1])


@op("MatMul")
def matmul(_a: Attributes, a: Tensor, b: Tensor) -> Tensor:
    """With numpy's rules for vectors and leading axes."""
    if len(a.shape) == 1:
        made = matmul(_a, Tensor((1, *a.shape), {(0, *i): v for i, v in a.at.items()}), b)
        return drop(made, -2 if len(b.shape) > 1 else -1)
    if len(b.shape) == 1:
        return drop(matmul(_a, a, Tensor((*b.shape, 1), {(*i, 0): v for i, v in b.at.items()})), -1)
    terms = a.shape[-1]
    left, right = halves(terms)
    rank = max(len(a.shape), len(b.shape)) - 2
    lead = [
        max(sizes)
        for sizes in zip(
            (1,) * (rank + 2 - len(a.shape)) + a.shape[:-2],
            (1,) * (rank + 2 - len(b.shape)) + b.shape[:-2],
            strict=True,
        )
    ]

    def value(i: Index) -> float:
        *batch, row, column = i
        one = [broadcast(a, (*batch, row, k)) for k in range(terms)]
        two = [broadcast(b, (*batch, k, column)) for k in range(terms)]
        return dot(integers(one, left), integers(two, right))

    return build((*lead, a.shape[-2], b.shape[-1]), value)


def drop(x: Tensor, axis: int) -> Tensor:
    at = axis % len(x.shape)
    return Tensor(
        x.shape[:at] + x.shape[at + 1 :], {i[:at] + i[at + 1 :]: v for i, v in x.at.items()}
    )


def turned(x: Tensor) -> Tensor:
    return Tensor(x.shape[::-1], {i[::-1]: v for i, v in x.at.items()})


@op("Gemm")
def gemm(attributes: Attributes, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    """The product, times alpha, plus beta times c: one rounding each; factors of 1 change none."""
    left = turned(a) if attributes.get("transA", 0) else a
    right = turned(b) if attributes.get("transB", 0) else b
    product = matmul({}, left, right)
    alpha, beta = (single(attributes.get(name, 1.0)) for name in ("alpha", "beta"))

    def value(i: Index) -> float:
        y = mul(product[i], alpha)
        return y if c is None else add(y, mul(broadcast(c, i), beta))

    return build(product.shape, value)


# --- windows


@dataclass(frozen=True)
class Window:
    """How a kernel moves: sizes, steps, padding on both sides, and where it stops."""

    kernel: Sequence[int]
    strides: Sequence[int]
    dilations: Sequence[int]
    before: Sequence[int]
    after: Sequence[int]
    out: Sequence[int]

    def places(self, o: Index) -> Iterator[tuple[Index, Index]]:
        """Place in the kernel, place in the input (which may lie in the padding)."""
        for k in indices(self.kernel):
            parts = zip(o, self.strides, k, self.dilations, self.before, strict=True)
            yield k, tuple(i * s + j * d - b for i, s, j, d, b in parts)


def window(attributes: Attributes, size: Sequence[int], kernel: Sequence[int]) -> Window:
    rank = len(size)
    strides = attributes.get("strides", [1] * rank)
    dilations = attributes.get("dilations", [1] * rank)
    pads = list(attributes.get("pads", [0] * 2 * rank))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    auto = attributes.get("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        for a in range(rank):
            need = max((math.ceil(size[a] / strides[a]) - 1) * strides[a] + spans[a] - size[a], 0)
            small, large = need // 2, need - need // 2
            pads[a], pads[a + rank] = (small, large) if auto == "SAME_UPPER" else (large, small)
    out = []
    for a in range(rank):
        steps = Fraction(size[a] + pads[a] + pads[a + rank] - spans[a], strides[a])
        last = math.ceil(steps) if attributes.get("ceil_mode", 0) else math.floor(steps)
        # No window begins in the padding behind the input.
        while attributes.get("ceil_mode", 0) and last * strides[a] >= size[a] + pads[a]:
            last -= 1
        out.append(last + 1)
    return Window(kernel, strides, dilations, pads[:rank], pads[rank:], out)


@op("Conv")
def conv(attributes: Attributes, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """One exponent for each sample and for each output channel."""
    win = window(attributes, x.shape[2:], w.shape[2:])
    each = w.shape[1]
    left, right = halves(math.prod(w.shape[1:]))
    samples = [whole(x, n, left) for n in range(x.shape[0])]
    kernels = [whole(w, m, right) for m in range(w.shape[0])]
    made_each = w.shape[0] // attributes.get("group", 1)

    def value(i: Index) -> float:
        n, m, *o = i
        total = 0
        for k, place in win.places(tuple(o)):
            for c in range(each):
                channel = m // made_each * each + c
                total += samples[n][0].get((channel, *place), 0) * kernels[m][0][(c, *k)]
        y = scaled(total, samples[n][1] + kernels[m][1])
        return y if bias is None else add(y, bias[(m,)])

    return build((x.shape[0], w.shape[0], *win.out), value)


def whole(x: Tensor, first: int, bits: int) -> tuple[dict[Index, int], int]:
    """Integers of one entry of the first axis, by the rest of the index."""
    rest = list(indices(x.shape[1:]))
    made, exponent = integers([x[(first, *i)] for i in rest], bits)
    return dict(zip(rest, made, strict=True)), exponent


@op("ConvTranspose")
def conv_transpose(
    attributes: Attributes, x: Tensor, w: Tensor, bias: Tensor | None = None
) -> Tensor:
    """As the specification says it: each input value spreads a kernel over the output."""
    rank = len(x.shape) - 2
    kernel = w.shape[2:]
    strides = attributes.get("strides", [1] * rank)
    dilations = attributes.get("dilations", [1] * rank)
    pads = attributes.get("pads", [0] * 2 * rank)
    extra = attributes.get("output_padding", [0] * rank)
    groups = attributes.get("group", 1)
    each, made = x.shape[1] // groups, w.shape[1]
    left, right = halves(each * math.prod(kernel))
    out = [
        (x.shape[2 + a] - 1) * strides[a] + (kernel[a] - 1) * dilations[a] + 1
        + extra[a] - pads[a] - pads[a + rank]
        for a in range(rank)
    ]  # fmt: skip
    kernels = {}
    for g in range(groups):
        for m in range(made):
            rest = [(c, *k) for c in range(each) for k in indices(kernel)]
            values = [w[(g * each + i[0], m, *i[1:])] for i in rest]
            numbers, exponent = integers(values, right)
            kernels[g * made + m] = dict(zip(rest, numbers, strict=True)), exponent
    samples = [whole(x, n, left) for n in range(x.shape[0])]
    sums = dict.fromkeys(indices((x.shape[0], groups * made, *out)), 0)
    for n, (values_of, _) in enumerate(samples):
        for i, value in values_of.items():
            for m in range(made):
                channel = i[0] // each * made + m
                for k in indices(kernel):
                    place = tuple(
                        i[1 + a] * strides[a] + k[a] * dilations[a] - pads[a] for a in range(rank)
                    )
                    if (n, channel, *place) in sums:
                        sums[n, channel, *place] += value * kernels[channel][0][i[0] % each, *k]

    def finished(i: Index) -> float:
        y = scaled(sums[i], samples[i[0]][1] + kernels[i[1]][1])
        return y if bias is None else add(y, bias[i[1:2]])

    return build((x.shape[0], groups * made, *out), finished)


@op("MaxPool")
def max_pool(attributes: Attributes, x: Tensor) -> Tensor:
    win = window(attributes, x.shape[2:], attributes["kernel_shape"])

    def value(i: Index) -> float:
        return max(
            x[(*i[:2], *place)] for _, place in win.places(i[2:]) if (*i[:2], *place) in x.at
        )

    return build((*x.shape[:2], *win.out), value)


@op("AveragePool")
def average_pool(attributes: Attributes, x: Tensor) -> Tensor:
    """One exponent for each sample; the bits that the size of the kernel leaves."""
    win = window(attributes, x.shape[2:], attributes["kernel_shape"])
    samples = [whole(x, n, free_bits(math.prod(win.kernel))) for n in range(x.shape[0])]

    def counts(place: Index) -> bool:
        with_padding = attributes.get("count_include_pad", 0)
        return all(
            (-b if with_padding else 0) <= p < s + (a if with_padding else 0)
            for p, s, b, a in zip(place, x.shape[2:], win.before, win.after, strict=True)
        )

    def value(i: Index) -> float:
        numbers, exponent = samples[i[0]]
        places = [place for _, place in win.places(i[2:])]
        total = sum(numbers.get((i[1], *place), 0) for place in places)
        return div(scaled(total, exponent), sum(map(counts, places)))

    return build((*x.shape[:2], *win.out), value)


# --- operators that move values


def unflat(shape: Sequence[int], values: Sequence[float]) -> Tensor:
    return Tensor(tuple(shape), dict(zip(indices(shape), values, strict=True)))


@op("Reshape")
def reshape(_a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    sizes = [x.shape[a] if s == 0 else s for a, s in enumerate(shape.whole())]
    if -1 in sizes:
        sizes[sizes.index(-1)] = -len(x.at) // math.prod(sizes)
    return unflat(sizes, x.flat)


@op("Flatten")
def flatten(attributes: Attributes, x: Tensor) -> Tensor:
    axis = attributes.get("axis", 1)
    axis += len(x.shape) if axis < 0 else 0
    return unflat((math.prod(x.shape[:axis]), math.prod(x.shape[axis:])), x.flat)


@op("Transpose")
def transpose(attributes: Attributes, x: Tensor) -> Tensor:
    perm = attributes.get("perm", range(len(x.shape))[::-1])
    return Tensor(
        tuple(x.shape[p] for p in perm), {tuple(i[p] for p in perm): v for i, v in x.at.items()}
    )


@op("Concat")
def concat(attributes: Attributes, *parts: Tensor) -> Tensor:
    axis = attributes["axis"] % len(parts[0].shape)
    made, begin = {}, 0
    for part in parts:
        for i, v in part.at.items():
            made[(*i[:axis], i[axis] + begin, *i[axis + 1 :])] = v
        begin += part.shape[axis]
    shape = parts[0].shape
    return Tensor((*shape[:axis], begin, *shape[axis + 1 :]), made)


def cut(x: Tensor, axis: int, places: Sequence[int]) -> Tensor:
    shape = (*x.shape[:axis], len(places), *x.shape[axis + 1 :])
    return build(shape, lambda i: x[(*i[:axis], places[i[axis]], *i[axis + 1 :])])


@op("Split")
def split(attributes: Attributes, x: Tensor, sizes: Tensor) -> list[Tensor]:
    axis, begin, made = attributes.get("axis", 0) % len(x.shape), 0, []
    for size in sizes.whole():
        made.append(cut(x, axis, range(begin, begin + size)))
        begin += size
    return made


@op("Slice")
def slice_of(_a: Attributes, x: Tensor, *given: Tensor) -> Tensor:
    """Walks from the clamped start until the clamped end."""
    starts, ends, axes, steps = (tensor.whole() for tensor in given)
    for first, last, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = x.shape[axis]
        least, most = (0, size) if step > 0 else (-1, size - 1)
        begin, end = (v + size if v < 0 else v for v in (first, last))
        begin = min(max(begin, 0), size if step > 0 else size - 1)
        end = min(max(end, least), most)
        x = cut(x, axis % len(x.shape), range(begin, end, step))
    return x


@op("Gather")
def gather(attributes: Attributes, x: Tensor, places: Tensor) -> Tensor:
    axis, rank = attributes.get("axis", 0) % len(x.shape), len(places.shape)
    shape = (*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])

    def value(i: Index) -> float:
        place = int(places[i[axis : axis + rank]]) % x.shape[axis]
        return x[(*i[:axis], place, *i[axis + rank :])]

    return build(shape, value)


@op("GatherElements")
def gather_elements(attributes: Attributes, x: Tensor, places: Tensor) -> Tensor:
    axis = attributes.get("axis", 0) % len(x.shape)

    def value(i: Index) -> float:
        return x[(*i[:axis], int(places[i]) % x.shape[axis], *i[axis + 1 :])]

    return build(places.shape, value)


@op("Pad")
def pad(attributes: Attributes, x: Tensor, amounts: Tensor, fill: Tensor | None = None) -> Tensor:
    rank = len(x.shape)
    before, after = amounts.whole()[:rank], amounts.whole()[rank:]
    mode = attributes.get("mode", "constant")

    def inside(place: int, size: int) -> int:
        if mode == "edge":
            return min(max(place, 0), size - 1)
        if mode == "wrap":
            return place % size
        while mode == "reflect" and not 0 <= place < size:
            place = -place if place < 0 else 2 * (size - 1) - place
        return place

    def value(i: Index) -> float:
        place = tuple(inside(j - b, s) for j, b, s in zip(i, before, x.shape, strict=True))
        return x.at.get(place, 0.0 if fill is None else fill.flat[0])

    return build([b + s + a for b, s, a in zip(before, x.shape, after, strict=True)], value)


@op("Resize")
def resize(
    attributes: Attributes,
    x: Tensor,
    _roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    """Nearest; coordinates are fractions."""
    if sizes is None:
        assert scales is not None
        factors = [Fraction(f) for f in scales.flat]
        out = [math.floor(f * s) for f, s in zip(factors, x.shape, strict=True)]
    else:
        out = sizes.whole()
        factors = [Fraction(o, s) for o, s in zip(out, x.shape, strict=True)]
    way = attributes.get("coordinate_transformation_mode", "half_pixel")
    half = Fraction(1, 2)

    def place(o: int, axis: int) -> int:
        if out[axis] == x.shape[axis] and factors[axis] == 1:
            return o
        if way == "asymmetric":
            where = o / factors[axis]
        elif way == "align_corners":
            where = Fraction(o * (x.shape[axis] - 1), max(out[axis] - 1, 1))
        else:
            where = (o + half) / factors[axis] - half
            if way == "pytorch_half_pixel" and out[axis] == 1:
                where = Fraction(0)
        found = {
            "floor": math.floor(where),
            "ceil": math.ceil(where),
            "round_prefer_floor": math.ceil(where - half),
            "round_prefer_ceil": math.floor(where + half),
        }[attributes.get("nearest_mode", "round_prefer_floor")]
        return min(max(found, 0), x.shape[axis] - 1)

    return build(out, lambda i: x[tuple(place(o, axis) for axis, o in enumerate(i))])


@op("DepthToSpace")
def depth_to_space(attributes: Attributes, x: Tensor) -> Tensor:
    b = attributes["blocksize"]
    n, c, h, w = x.shape
    made = c // (b * b)

    def value(i: Index) -> float:
        inner = i[2] % b * b + i[3] % b
        crd = attributes.get("mode", "DCR") == "CRD"
        channel = i[1] * b * b + inner if crd else inner * made + i[1]
        return x[i[0], channel, i[2] // b, i[3] // b]

    return build((n, made, h * b, w * b), value)


@op("SpaceToDepth")
def space_to_depth(attributes: Attributes, x: Tensor) -> Tensor:
    b = attributes["blocksize"]
    n, c, h, w = x.shape

    def value(i: Index) -> float:
        inner, channel = divmod(i[1], c)
        return x[i[0], channel, i[2] * b + inner // b, i[3] * b + inner % b]

    return build((n, c * b * b, h // b, w // b), value)


def run(name: str, attributes: Attributes, inputs: Sequence[Tensor | None]) -> list[Tensor]:
    """One node."""
    made: Any = TABLE[name](attributes, *inputs)
    return made if isinstance(made, list) else [made]
