"""What could not be found out: never zero, never left out, always with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Unknown:
    """Stands where a value would; `reason` is one line for people."""

    reason: str


def settle(tree: Any) -> tuple[Any, dict[str, str]]:
    """The same tree with ``None`` for every `Unknown`, and a reason for each.

    Reasons are kept under the JSON pointer (RFC 6901) of the place. A bare ``None`` in `tree`
    is a mistake of this program: it would be unknown without a reason.

    Raises:
        ValueError: a value is ``None``.
    """
    reasons: dict[str, str] = {}
    return _settle(tree, "", reasons), dict(sorted(reasons.items()))


def below(pointer: str, reasons: dict[str, str]) -> dict[str, str]:
    """Reasons of a subtree, under the pointers that they have once it hangs at `pointer`."""
    return {pointer + inner: reason for inner, reason in reasons.items()}


def _settle(tree: Any, pointer: str, reasons: dict[str, str]) -> Any:
    if isinstance(tree, Unknown):
        reasons[pointer] = tree.reason
        return None
    if tree is None:
        message = f"{pointer}: unknown without a reason"
        raise ValueError(message)
    if isinstance(tree, dict):
        return {
            key: _settle(value, f"{pointer}/{escape(key)}", reasons) for key, value in tree.items()
        }
    if isinstance(tree, (list, tuple)):
        return [_settle(value, f"{pointer}/{index}", reasons) for index, value in enumerate(tree)]
    return tree


def escape(key: str) -> str:
    """One token of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")
