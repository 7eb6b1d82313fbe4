"""Numbers for people."""

from __future__ import annotations


def milliseconds(nanoseconds: float) -> str:
    """``12.34 ms``, four digits."""
    return f"{_digits(nanoseconds / 1e6)} ms"


def mebibytes(size: float) -> str:
    """``73.5 MiB``."""
    return f"{size / (1 << 20):.1f} MiB"


def degrees(thousandths: float) -> str:
    """``48.3 °C``."""
    return f"{thousandths / 1000:.1f} °C"


def percent(value: float) -> str:
    """``98.2 %``."""
    return f"{value:.4g} %"


def rate(value: float) -> str:
    """``81.2 /s``."""
    return f"{_digits(value)} /s"


def _digits(value: float) -> str:
    """Four significant digits, never as a power of ten."""
    if value == 0:
        return "0"
    places = 3
    while places > 0 and abs(value) >= 10 ** (4 - places):
        places -= 1
    while abs(value) < 10 ** -(places - 3) and places < 9:
        places += 1
    return f"{value:.{places}f}"
