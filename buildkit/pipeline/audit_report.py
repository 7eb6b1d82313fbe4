"""``audit report``: what an index knows of an artifact, and the models' cards in the store."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from buildkit import media
from buildkit.audit.report import card as cards
from buildkit.audit.report.facts import facts
from buildkit.errors import DigestError, EvidenceError, StoreError
from buildkit.evidence import kinds, shapes
from buildkit.evidence.reasons import Reason
from buildkit.store.documents import descriptor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from buildkit.audit.database import Index
    from buildkit.audit.report.types import Artifact, Card, Report
    from buildkit.store import Store


def report(index: Index, ref: str, *, store: Store | None) -> Report:
    """All that is known of an artifact.

    Args:
        index: to ask.
        ref: name, digest, or at least 7 of its first hex digits.
        store: where the models' cards are read; they stay unknown when absent.

    Raises:
        InputError: the index knows none, or more than one.
        StoreError: the index fails.
    """
    with index.connect() as connection:
        found = facts(connection, ref)
    # Who signed a manifest signed the card in it; of a manifest that nobody signed it is hearsay.
    signed = {
        label for each in found.signed if each.kind == kinds.PROVENANCE.name for label in each.about
    }
    believed = [each for each in found.models if each.label in signed]
    read, unread = _cards(store, believed)
    if others := [each.label for each in found.models if each not in believed]:
        unread.append(f"nobody whose word counts says who made {', '.join(others)}")
    return replace(found, cards=tuple(read), cards_unread="; ".join(unread))


def _cards(store: Store | None, models: Iterable[Artifact]) -> tuple[list[Card], list[str]]:
    """Cards of models, and why some cannot be read."""
    if store is None:
        return [], ["the models' cards are in a store, and none is at hand"]
    read: list[Card] = []
    unread: list[str] = []
    for each in models:
        try:
            read.append(_card(store, each))
        except EvidenceError as error:
            unread.append(f"the card of {each.label} cannot be read: {error.message}")
        # Their messages name files of this machine, and the page is for others.
        except DigestError:
            unread.append(f"the card of {each.label} was changed: its bytes do not fit its digest")
        except StoreError:
            unread.append(f"the card of {each.label} is not in the store")
    return read, unread


def _card(store: Store, model: Artifact) -> Card:
    what = f"manifest {model.digest}"
    manifest: Any = shapes.object(store.read_json(model.digest), what, needed={"layers"})
    for layer in shapes.array(manifest["layers"], f"{what}: layers"):
        found = descriptor(layer, f"{what}: layers")
        if found.media_type == media.CARD:
            data = store.read(found.digest, limit=cards.LARGEST)
            return cards.read(data, f"card {found.digest}")
    raise EvidenceError(Reason.MODEL, f"{what}: it has no card")
