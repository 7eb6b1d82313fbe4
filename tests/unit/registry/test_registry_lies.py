"""A registry that lies, or is not well: a clear error, soon, and nothing in the store."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from fake_registry import Fake, Handler, serving
from registry_world import LAYER, World, access, make, name_of, patience

from buildkit import media
from buildkit.errors import BuildkitError, DigestError, RegistryError, StoreError
from buildkit.pipeline import registries
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Lie = "Callable[[Handler, World], bool]"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make(tmp_path / "a")


@pytest.fixture
def fake(world: World) -> Iterator[Fake]:
    """Has the artifact already, and tells the truth so far."""
    with serving(Fake()) as found:
        registries.push("demo:1", name_of(found), store=world.store, access=access())
        yield found


def pulled(fake: Fake, world: World, tmp_path: Path, **times: float) -> BuildkitError:
    """The error of a pull that soon gives up; the store shows nothing of it."""
    hasty = patience(**{"budget_s": 1.5, **times})
    other = Store.create(tmp_path / "b")
    start = time.monotonic()
    with pytest.raises((DigestError, RegistryError)) as caught:
        registries.pull(name_of(fake, "team/demo:1"), store=other, access=access(patience=hasty))
    assert time.monotonic() - start < 60
    assert other.entries() == ()
    assert not other.has(world.layer.digest)
    assert list((other.root / ".ingest").iterdir()) == []
    return caught.value


def is_layer(handler: Handler, world: World) -> bool:
    return handler.command == "GET" and handler.path.endswith(world.layer.digest)


def is_manifest(handler: Handler, world: World) -> bool:
    return (
        handler.command == "GET"
        and handler.path.endswith(world.image.digest)
        and "/manifests/" in handler.path
    )


def endless(handler: Handler, kind: str = "application/octet-stream") -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True
    while True:
        handler.wfile.write(b"x" * 65536)


def short(handler: Handler) -> None:
    """A whole answer, by its own word, and too short."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"4\r\nshor\r\n0\r\n\r\n")


def closing(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(LAYER)))
    handler.end_headers()
    handler.wfile.write(b"")
    handler.close_connection = True


def shifted(handler: Handler) -> None:
    """Cut first, and from the wrong place on then."""
    if "Range" in handler.headers:
        handler.answer(206, LAYER[5:], Content_Range=f"bytes 5-{len(LAYER) - 1}/{len(LAYER)}")
        return
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(LAYER)))
    handler.end_headers()
    handler.wfile.write(LAYER[:1000])
    handler.close_connection = True


LAYERS: dict[str, tuple[Callable[[Handler], Any], type[BuildkitError], str]] = {
    "other bytes": (lambda h: h.answer(200, b"y" * len(LAYER)), DigestError, "expected sha256"),
    "truncated": (lambda h: h.answer(200, LAYER[:-1]), DigestError, "where 1048576 are left"),
    "too long": (lambda h: h.answer(200, LAYER + b"x"), DigestError, "where 1048576 are left"),
    "endless": (endless, DigestError, "goes on after its 1048576 bytes"),
    "short": (short, DigestError, "ends after 4 of 1048576"),
    "cut each time": (closing, RegistryError, "cut"),
    "wrong range": (shifted, DigestError, "from byte 1000 on"),
    "gone": (lambda h: h.error(404, "BLOB_UNKNOWN"), RegistryError, "BLOB_UNKNOWN"),
    "forbidden": (lambda h: h.error(403, "DENIED"), RegistryError, "DENIED"),
    "503": (lambda h: h.answer(503), RegistryError, "answers 503"),
    "429 with a long wait": (
        lambda h: h.answer(429, Retry_After="3600"), RegistryError, "wait 3600 s"
    ),
    "429 again and again": (lambda h: h.answer(429, Retry_After="0"), RegistryError, "answers 429"),
    "418": (lambda h: h.answer(418), RegistryError, "answers 418"),
    "to a file": (
        lambda h: h.answer(307, Location="file:///etc/passwd"), RegistryError, "file"
    ),
    "to another protocol": (
        lambda h: h.answer(307, Location="ftp://127.0.0.1/x"), RegistryError, "'ftp'"
    ),
    "to nowhere": (lambda h: h.answer(307, Location="http://[x/"), RegistryError, "no address"),
    "in circles": (
        lambda h: h.answer(307, Location=h.path), RegistryError, "from one place to the next"
    ),
    "to a dead port": (
        lambda h: h.answer(307, Location="http://127.0.0.1:1/x"), RegistryError, "cannot be reached"
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", LAYERS)
def test_of_a_layer(lie: str, fake: Fake, world: World, tmp_path: Path) -> None:
    tell, kind, said = LAYERS[lie]

    def before(handler: Handler) -> bool:
        if not is_layer(handler, world):
            return False
        tell(handler)
        return True

    fake.before = before
    error = pulled(fake, world, tmp_path)
    assert type(error) is kind
    import re

    assert re.search(said, error.message), error.message
    assert error.exit_code == (1 if kind is DigestError else 2)


def manifest(data: bytes, kind: str = media.INDEX) -> Callable[[Handler], Any]:
    return lambda handler: handler.answer(200, data, Content_Type=kind)


MANIFESTS: dict[str, tuple[Callable[[Handler], Any], type[BuildkitError], str]] = {
    "a page": (manifest(b"<html>", "text/html"), RegistryError, "content type 'text/html'"),
    "another kind": (manifest(b"{}", media.MANIFEST), RegistryError, "content type"),
    "garbage": (manifest(b"{"), DigestError, "promised"),
    "giant": (manifest(b"x" * (5 << 20)), RegistryError, "longer than"),
    "endless": (
        lambda h: endless(h, media.INDEX),
        RegistryError,
        "longer than",
    ),
    "500": (lambda h: h.answer(500), RegistryError, "answers 500"),
    "compressed": (
        lambda h: h.answer(200, b"x", Content_Type=media.INDEX, Content_Encoding="gzip"),
        RegistryError,
        "compressed",
    ),
}


@pytest.mark.parametrize("lie", MANIFESTS)
def test_of_a_manifest(lie: str, fake: Fake, world: World, tmp_path: Path) -> None:
    tell, kind, said = MANIFESTS[lie]

    def before(handler: Handler) -> bool:
        if not is_manifest(handler, world):
            return False
        tell(handler)
        return True

    fake.before = before
    error = pulled(fake, world, tmp_path)
    assert type(error) is kind
    import re

    assert re.search(said, error.message), error.message


def test_the_digest_in_a_header_is_not_that_of_the_bytes(
    fake: Fake, world: World, tmp_path: Path
) -> None:
    def before(handler: Handler) -> bool:
        if not handler.path.endswith("/manifests/1"):
            return False
        kind, data = fake.manifests[world.image.digest]
        handler.answer(200, data, Content_Type=kind, Docker_Content_Digest="sha256:" + "0" * 64)
        return True

    fake.before = before
    assert isinstance(pulled(fake, world, tmp_path), DigestError)


@pytest.mark.parametrize("data", [b"{", b'{"manifests": 1}', b'{"manifests": [{"a": 1}]}', b"[]"])
def test_a_list_of_referrers_that_is_none(
    data: bytes, fake: Fake, world: World, tmp_path: Path
) -> None:
    def before(handler: Handler) -> bool:
        if "/referrers/" not in handler.path:
            return False
        handler.answer(200, data, Content_Type=media.INDEX)
        return True

    fake.before = before
    assert "not a list of referrers" in pulled(fake, world, tmp_path).message


@pytest.mark.parametrize("link", ["<?at=1>; rel=next", "<http://127.0.0.2:9/x>; rel=next"])
def test_a_list_without_an_end(link: str, fake: Fake, world: World, tmp_path: Path) -> None:
    def before(handler: Handler) -> bool:
        if "/referrers/" not in handler.path:
            return False
        handler.answer(200, b'{"manifests": []}', Content_Type=media.INDEX, Link=link)
        return True

    fake.before = before
    said = pulled(fake, world, tmp_path).message
    assert "has no end" in said or "goes on at another host" in said


def test_what_is_listed_and_hangs_on_something_else_does_not_come(
    fake: Fake, world: World, tmp_path: Path
) -> None:
    def before(handler: Handler) -> bool:
        if not handler.path.endswith(f"/referrers/{world.platform.digest}"):
            return False
        other = world.said[0]
        listed = {
            "manifests": [
                {"mediaType": other.media_type, "digest": other.digest, "size": other.size}
            ]
        }
        listed["manifests"].append(
            {"mediaType": media.MANIFEST, "digest": "sha256:" + "2" * 64, "size": 7}
        )
        handler.answer(200, json.dumps(listed).encode(), Content_Type=media.INDEX)
        return True

    fake.before = before
    other = Store.create(tmp_path / "b")
    done = registries.pull(name_of(fake, "team/demo:1"), store=other, access=access())
    assert "sha256:" + "2" * 64 in done.missing
    assert done.referrers == 4


def test_a_registry_that_claims_another_digest_for_what_it_took(tmp_path: Path) -> None:
    world = make(tmp_path / "a")

    def before(handler: Handler) -> bool:
        if handler.command != "PUT" or "/manifests/" not in handler.path:
            return False
        handler.body()
        handler.answer(201, Docker_Content_Digest="sha256:" + "3" * 64)
        return True

    with serving(Fake(before=before)) as fake, pytest.raises(DigestError, match="took manifest"):
        registries.push("demo:1", name_of(fake), store=world.store, access=access())


def test_a_blob_that_is_there_in_another_length(tmp_path: Path) -> None:
    world = make(tmp_path / "a")
    with serving(Fake()) as fake:
        fake.blobs[world.layer.digest] = b"short"
        with pytest.raises(DigestError, match="in 5 bytes"):
            registries.push("demo:1", name_of(fake), store=world.store, access=access())


def test_a_damaged_store_is_not_the_registrys_fault(tmp_path: Path) -> None:
    world = make(tmp_path / "a")
    path = world.store.path(world.layer.digest)
    path.unlink()
    path.write_bytes(b"z" * len(LAYER))
    with serving(Fake()) as fake, pytest.raises(DigestError, match="the bytes here"):
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
    assert "1" not in fake.tags
    path.unlink()
    with serving(Fake()) as fake, pytest.raises(StoreError):
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
    assert "1" not in fake.tags


def test_an_upload_leads_to_a_file(tmp_path: Path) -> None:
    world = make(tmp_path / "a")

    def before(handler: Handler) -> bool:
        if handler.command != "POST":
            return False
        handler.answer(202, Location="file:///tmp/x")
        return True

    with serving(Fake(before=before)) as fake, pytest.raises(RegistryError):
        registries.push("demo:1", name_of(fake), store=world.store, access=access())


def test_a_storm_that_ends_is_ridden_out(fake: Fake, tmp_path: Path) -> None:
    left = {"503": 4, "429": 4, "cut": 4}

    def before(handler: Handler) -> bool:
        for how, count in left.items():
            if count:
                left[how] -= 1
                if how == "cut":
                    handler.close_connection = True
                    handler.connection.close()
                else:
                    handler.answer(int(how), Retry_After="0")
                return True
        return False

    fake.before = before
    other = Store.create(tmp_path / "b")
    registries.pull(name_of(fake, "team/demo:1"), store=other, access=access())
    assert other.check() == ()
    assert not any(left.values())


def test_a_line_that_drips(fake: Fake, world: World, tmp_path: Path) -> None:
    def before(handler: Handler) -> bool:
        if not is_manifest(handler, world):
            return False
        handler.send_response(200)
        handler.send_header("Content-Type", media.INDEX)
        handler.send_header("Content-Length", str(world.image.size))
        handler.end_headers()
        for _ in range(15):
            handler.wfile.write(b" ")
            time.sleep(0.1)
        return True

    fake.before = before
    said = pulled(fake, world, tmp_path, document_s=1.0, read_s=2.0).message
    assert "bytes in 1 s" in said or "tried for" in said


def test_nobody_there(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "b")
    start = time.monotonic()
    with pytest.raises(RegistryError, match="cannot be reached") as caught:
        registries.pull("127.0.0.1:1/x:1", store=store, access=access())
    assert time.monotonic() - start < 60
    assert "host's name" in caught.value.remedy
    with pytest.raises(RegistryError, match="cannot be reached"):
        registries.pull("nowhere.invalid/x:1", store=store, access=access())


def test_tls_is_never_left_away_by_itself(fake: Fake, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "b")
    with pytest.raises(RegistryError, match="no TLS") as caught:
        registries.pull(name_of(fake, "team/demo:1"), store=store, access=access(plain_http=False))
    assert "--plain-http" in caught.value.remedy


def test_the_user_stops_it(fake: Fake, world: World, tmp_path: Path) -> None:
    waiting = patience(budget_s=600.0, longest_s=300.0, first_s=300.0)

    def before(handler: Handler) -> bool:
        if is_layer(handler, world):
            waiting.stop.set()
            handler.answer(503)
            return True
        return False

    fake.before = before
    start = time.monotonic()
    from buildkit.registry.patience import Stopped

    with pytest.raises(Stopped):
        registries.pull(
            name_of(fake, "team/demo:1"),
            store=Store.create(tmp_path / "b"),
            access=access(patience=waiting),
        )
    assert time.monotonic() - start < 60
