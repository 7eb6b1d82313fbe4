"""The base score of a CVSS 3 vector, so that the gravest stands first. Pure.

Source: Common Vulnerability Scoring System v3.1, section 7 (base metrics equations) and appendix A
(rounding). Versions 2 and 4 are shown as they stand: a score of theirs is another scale.
"""

from __future__ import annotations

_WEIGHTS: dict[str, dict[str, float]] = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "UI": {"N": 0.85, "R": 0.62},
    "C": {"H": 0.56, "L": 0.22, "N": 0.0},
    "I": {"H": 0.56, "L": 0.22, "N": 0.0},
    "A": {"H": 0.56, "L": 0.22, "N": 0.0},
}
_PRIVILEGES = {
    "U": {"N": 0.85, "L": 0.62, "H": 0.27},
    "C": {"N": 0.85, "L": 0.68, "H": 0.5},
}


def score(vector: str) -> float | None:
    """The base score, 0 to 10 in tenths; nothing when it is no whole CVSS 3 vector."""
    name, *parts = vector.strip().split("/")
    if name not in {"CVSS:3.0", "CVSS:3.1"}:
        return None
    told = dict(part.partition(":")[::2] for part in parts)
    try:
        weights = {metric: values[told[metric]] for metric, values in _WEIGHTS.items()}
        scope = told["S"]
        privileges = _PRIVILEGES[scope][told["PR"]]
    except KeyError:
        return None
    lost = 1 - (1 - weights["C"]) * (1 - weights["I"]) * (1 - weights["A"])
    changed = 7.52 * (lost - 0.029) - 3.25 * (lost - 0.02) ** 15
    impact = 6.42 * lost if scope == "U" else changed
    if impact <= 0:
        return 0.0
    ease = 8.22 * weights["AV"] * weights["AC"] * privileges * weights["UI"]
    return _up(min((impact + ease) * (1.08 if scope == "C" else 1.0), 10))


def _up(value: float) -> float:
    """To the next tenth, in whole numbers, so that every machine says the same."""
    whole = round(value * 100_000)
    if whole % 10_000 == 0:
        return whole / 100_000
    return (whole // 10_000 + 1) / 10
