"""Has a device run something, stays with it until it ends, and takes back what it signed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from buildkit.device import answers, signed
from buildkit.device.calls import Patience

if TYPE_CHECKING:
    from buildkit.device.agent import Agent
    from buildkit.device.types import Order, Signed
    from buildkit.evidence.keys import PublicKey

BEAT_S = 3.0
"""The protocol asks for a sign of life every 5 s."""

_AROUND_S = 900.0
_GRACE_S = 20.0


def run(
    agent: Agent,
    order: Order,
    *,
    key: PublicKey,
    patience: Patience | None = None,
    around_s: float = _AROUND_S,
) -> Signed:
    """Run `order` on a device, to its end, well or badly.

    All blobs of the order must be there (`buildkit.device.delivery`). When this is left early, by
    Ctrl-C or any other exception, the device ends its container first.

    Args:
        agent: on the device.
        order: what to run.
        key: the device's own, as it was pinned when it was enrolled.
        patience: its `Patience.stop` and `Patience.progress` count.
        around_s: seconds that the device has for what is not the run itself: checking digests,
            unpacking the image.

    Returns:
        What the device signed, checked: it is about this run, of this order.

    Raises:
        DeviceError: the line was cut, the device is busy, or could not begin.
        DeviceRefused: a digest or a signature does not hold, so nothing ran.
        EvidenceError: what came back is not signed by `key`, or not about this run.
    """
    whole = order.deadline_s + around_s
    asked = Patience() if patience is None else patience
    # A run may say nothing for long; that the line is dead, ssh notices itself.
    waiting = dataclasses.replace(
        asked, quiet_s=whole, whole_s=whole, beat_s=BEAT_S, grace_s=_GRACE_S
    )
    ran = agent.call("run", signed.request(order), answers.ran, patience=waiting)
    return signed.checked(
        ran, order, key=key, agent=agent.packed.digest, name=agent.link.device.name
    )
