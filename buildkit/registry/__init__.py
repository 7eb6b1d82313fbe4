"""Registries: an artifact with all that hangs on it, to and from them (OCI distribution 1.1)."""

from buildkit.registry.access import Access
from buildkit.registry.credentials import Login, of_environment
from buildkit.registry.patience import Patience
from buildkit.registry.plan import Plan, Source, plan
from buildkit.registry.reference import Reference, parse
from buildkit.registry.repository import Repository
from buildkit.registry.sources import FromRepository, FromStore
from buildkit.registry.transfer import Counted, Event, into_repository, into_store

__all__ = [
    "Access",
    "Counted",
    "Event",
    "FromRepository",
    "FromStore",
    "Login",
    "Patience",
    "Plan",
    "Reference",
    "Repository",
    "Source",
    "into_repository",
    "into_store",
    "of_environment",
    "parse",
    "plan",
]
