"""The store: an OCI image layout on disk, shared by builds, open to other tools."""

from buildkit.store.check import Finding
from buildkit.store.entries import REF_NAME
from buildkit.store.export import archive, view
from buildkit.store.gc import Collected
from buildkit.store.graph import Node
from buildkit.store.store import Attachment, Store

__all__ = ["REF_NAME", "Attachment", "Collected", "Finding", "Node", "Store", "archive", "view"]
