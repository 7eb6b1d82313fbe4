"""The colours that all pages share can be read."""

from __future__ import annotations

import re

from buildkit.markup.style import STYLE


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_colour_of_text_can_be_read() -> None:
    """WCAG 2: a contrast of 4.5 with the page, in light, in dark and on paper."""
    palettes = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    assert len(palettes) == 3
    for palette in palettes:
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", palette))
        for name, colour in colours.items():
            if name in {"edge", "band", "page"}:
                continue
            for ground in ("page", "band"):
                light, dark = sorted(map(luminance, (colour, colours[ground])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)
