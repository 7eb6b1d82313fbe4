"""A disk that is full, or a limit that is reached, at every possible moment."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from store_samples import SBOM_TYPE, image

from buildkit.errors import StoreError
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_FILL = """
import os, sys
from pathlib import Path
from buildkit.errors import StoreError
from buildkit.store import Store, view

root = Path(sys.argv[1])
big = bytes(300_000)
store = Store.create(root / "store")
first = store.tag(store.put_bytes(os.urandom(10_000), "text/plain"), "first:1")
(root / "source").write_bytes(os.urandom(150_000))

def refused(work, *args, **more):
    try:
        work(*args, **more)
    except StoreError as error:
        assert "no space left" in error.message, error.message
        assert "MiB free" in error.message, error.message
        assert "python -m buildkit gc" in error.remedy, error.remedy
        return
    raise SystemExit(f"{work} should have been refused")

def clean():
    assert store.check() == (), store.check()
    assert list((store.root / ".ingest").iterdir()) == []
    assert store.resolve("first:1") == first

refused(store.put_bytes, big, "text/plain")
clean()
store.put_file(root / "source", "text/plain")
(root / "source").unlink()
with open(root / "source", "wb") as sparse:
    sparse.truncate(1 << 20)
refused(store.put_file, root / "source", "text/plain")
clean()

# To the last page: now not even a new index fits.
with open(root / "filler", "wb", buffering=0) as filler:
    try:
        while True:
            filler.write(bytes(4096))
    except OSError:
        pass
refused(store.tag, first, "second:1", {"k": "v" * 10_000})
refused(store.attach, first, "text/plain", [(b"x", "text/plain")])
refused(view, store, first.digest, root / "view")
assert [path for path in (root / "view").rglob("*") if path.is_file()] == []
refused(Store.create, root / "another" / "store")
clean()

# The way out that the remedy names works on a full disk.
assert store.gc().size == 150_000
clean()
store.attach(first, "text/plain", [(b"x", "text/plain")])
Store.create(root / "another" / "store")
"""


def in_a_namespace(size: str, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script with a small file system of its own in `folder`."""
    mount = 'mount -t tmpfs -o size="$1" none "$2" && exec "$3" -c "$4" "$2"'
    words = ["sh", "-c", mount, "sh", size, str(folder), sys.executable, script]
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    return subprocess.run(
        ["unshare", "--mount", *user, *words], capture_output=True, text=True, check=False
    )


def test_disk_full(tmp_path: Path) -> None:
    probe = in_a_namespace("1m", "", tmp_path)
    if probe.returncode != 0:
        pytest.skip(f"no mount namespaces here: {probe.stderr.strip()}")
    done = in_a_namespace("400k", _FILL, tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout


_READ_ONLY = """
import subprocess, sys
from pathlib import Path
from buildkit.errors import StoreError
from buildkit.store import Store, view

root = Path(sys.argv[1])
store = Store.create(root / "store")
first = store.tag(store.put_bytes(b"first", "text/plain"), "first:1")
subprocess.run(["mount", "-o", "remount,bind,ro", str(root)], check=True)

store = Store.create(root / "store")
assert store.resolve("first:1") == first
assert store.read(first.digest) == b"first"
assert store.check() == ()
assert store.gc(dry_run=True).blobs == 0
for work in (
    lambda: store.put_bytes(b"new", "text/plain"),
    lambda: store.tag(first, "second:1"),
    lambda: store.gc(),
    lambda: Store.create(root / "another"),
    lambda: view(store, first.digest, root / "view"),
):
    try:
        work()
    except StoreError as error:
        assert "read-only" in error.message, error.message
        assert error.remedy
    else:
        raise SystemExit("should have been refused")
"""


def test_read_only_file_system(tmp_path: Path) -> None:
    probe = in_a_namespace("1m", "", tmp_path)
    if probe.returncode != 0:
        pytest.skip(f"no mount namespaces here: {probe.stderr.strip()}")
    done = in_a_namespace("1m", _READ_ONLY, tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout


@pytest.mark.parametrize("limit", [0, 1, 10, 100, 400, 1000])
def test_file_size_limit(tmp_path: Path, limit: int) -> None:
    """Files that cannot be finished: no mount needed, so this one runs everywhere."""
    store = Store.create(tmp_path / "store")
    first = store.tag(image(store), "first:1", {"k": "v" * 500})
    (tmp_path / "source").write_bytes(bytes(2000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        works: tuple[Callable[[], object], ...] = (
            lambda: store.put_bytes(bytes(2001), "text/plain"),
            lambda: store.put_file(tmp_path / "source", "text/plain"),
            lambda: store.tag(first, "second:1", {"n": "v" * 500}),
            lambda: store.attach(first, SBOM_TYPE, [(bytes(2002), SBOM_TYPE)]),
        )
        for work in works:
            with pytest.raises(StoreError, match="beyond the limit") as caught:
                work()
            assert "ulimit" in caught.value.remedy
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert store.check() == ()
    assert list((store.root / ".ingest").iterdir()) == []
    assert store.entries() == (first,)
