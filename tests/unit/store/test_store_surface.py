from __future__ import annotations

import inspect
import subprocess
import sys

import buildkit.store
from buildkit.store import Store


def test_exported_names() -> None:
    assert buildkit.store.__all__ == [
        "REF_NAME", "Attachment", "Collected", "Finding", "Node", "Store", "archive", "view",
    ]  # fmt: skip


def test_methods_of_the_store() -> None:
    found = [name for name, _ in inspect.getmembers(Store) if not name.startswith("_")]
    assert found == [
        "attach", "attach_all", "check", "copy", "create", "entries", "find", "gc", "has", "lease",
        "links", "open", "path", "put_bytes", "put_file", "put_json", "read", "read_json",
        "reading", "receive", "referrers", "resolve", "size", "swap", "tag", "tag_all", "untag",
        "walk",
    ]  # fmt: skip


def test_importing_loads_nothing_slow() -> None:
    # Hooks of the distribution load modules before us.
    script = "import sys; a = set(sys.modules); import buildkit.store; print(*set(sys.modules) - a)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    loaded = set(done.stdout.decode().split())
    assert loaded.isdisjoint({"tarfile", "tempfile", "shutil", "difflib", "subprocess", "gzip"})
