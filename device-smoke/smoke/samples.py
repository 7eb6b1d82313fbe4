"""Raw samples, small enough for JSON, and back.

An array of whole numbers is written as little-endian unsigned integers of the narrowest of 32 and
64 bits, its bytes by plane (first the lowest byte of every number, then the next, ...: the high
planes are nearly constant), zlib, base64. About 1.5 bytes a sample.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ENCODING = "planes+zlib+base64"
WIDTHS = {"<u4": 4, "<u8": 8}
MOST = 1 << 28  # bytes of one array: a longer one is not ours


def pack(values: Sequence[int]) -> dict[str, Any]:
    """Numbers of 0 to 2^64 - 1 as a JSON object.

    Raises:
        ValueError: a number is negative or too large.
    """
    if len(values) and not 0 <= min(values) <= max(values) < 1 << 64:
        message = "samples must be from 0 to 2^64 - 1"
        raise ValueError(message)
    dtype = "<u4" if not len(values) or max(values) < 1 << 32 else "<u8"
    planes = np.array(values, dtype).view(np.uint8).reshape(-1, WIDTHS[dtype]).T
    return {
        "encoding": ENCODING,
        "dtype": dtype,
        "count": len(values),
        "data": base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode(),
    }


def unpack(packed: Mapping[str, Any]) -> list[int]:
    """The numbers again; the decoder for whoever reads a report.

    Raises:
        ValueError: it is not what `pack` writes.
    """
    width = WIDTHS.get(packed["dtype"])
    count = packed["count"]
    if packed["encoding"] != ENCODING or width is None or not 0 <= count * width <= MOST:
        message = "samples are in an encoding that is not known"
        raise ValueError(message)
    try:
        inflater = zlib.decompressobj()
        raw = inflater.decompress(base64.b64decode(packed["data"], validate=True), count * width)
        # At the exact length zlib still owes its check sum.
        raw += inflater.decompress(inflater.unconsumed_tail, 1)
    except (binascii.Error, zlib.error) as error:
        message = f"samples cannot be read: {error}"
        raise ValueError(message) from error
    if not inflater.eof or inflater.unused_data or len(raw) != count * width:
        message = f"samples cannot be read: not {count} numbers"
        raise ValueError(message)
    planes = np.frombuffer(raw, np.uint8).reshape(width, count)
    values: list[int] = np.ascontiguousarray(planes.T).view(packed["dtype"]).ravel().tolist()
    return values
