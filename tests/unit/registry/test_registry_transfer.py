from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest
from fake_registry import Fake, Handler, digest_of, serving
from registry_world import LAYER, SAID, access, make, name_of

from buildkit import media
from buildkit.errors import InputError, RegistryError
from buildkit.evidence import journal
from buildkit.pipeline import registries
from buildkit.registry import upload
from buildkit.store import REF_NAME, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("api", [True, False])
@pytest.mark.parametrize("page", [1000, 1])
def test_there_and_back(tmp_path: Path, api: bool, page: int) -> None:  # noqa: FBT001
    world = make(tmp_path / "a")
    with serving(Fake(api=api, page=page)) as fake:
        pushed = registries.push("demo:1", name_of(fake), store=world.store, access=access())
        other = Store.create(tmp_path / "b")
        pulled = registries.pull(name_of(fake, "team/demo:1"), store=other, access=access())
    assert pushed.names == ("1-model", "1")
    assert pulled.names == ("demo-model:1", "demo:1")
    assert pushed.digest == pulled.digest == world.image.digest
    assert pushed.models == pulled.models == (world.models.digest,)
    assert pushed.referrers == pulled.referrers == 5
    assert pushed.missing == pulled.missing == ()
    assert pushed.counted.listed_by == ("api" if api else "tag")
    assert {*fake.blobs, *fake.manifests} >= world.everything()
    assert other.check() == ()
    for each in world.everything():
        assert other.read(each) == world.store.read(each)
    mine, theirs = ({e.digest: e.to_json() for e in s.entries()} for s in (world.store, other))
    assert mine == theirs
    assert other.resolve("demo:1").annotations[REF_NAME] == "demo:1"


def test_what_is_there_is_not_sent_again(tmp_path: Path) -> None:
    world = make(tmp_path / "a")
    with serving(Fake()) as fake:
        first = registries.push("demo:1", name_of(fake), store=world.store, access=access())
        before = len(fake.requests)
        second = registries.push("demo:1", name_of(fake), store=world.store, access=access())
        assert {verb for verb, _, _ in fake.requests[before:]} == {"GET", "HEAD"}
        other = Store.create(tmp_path / "b")
        registries.pull(name_of(fake, "team/demo:1"), store=other, access=access())
        again = registries.pull(name_of(fake, "team/demo:1"), store=other, access=access())
    assert first.counted.bytes_sent > len(LAYER)
    assert (second.counted.bytes_sent, second.counted.manifests_sent) == (0, 0)
    assert (again.counted.bytes_sent, again.counted.manifests_sent) == (0, 0)


def test_blobs_before_manifests_children_before_parents_the_tag_last(tmp_path: Path) -> None:
    world = make(tmp_path / "a")
    with serving(Fake(api=False)) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
    puts = [path for verb, path, _ in fake.requests if verb == "PUT"]
    kinds = ["blob" if "/blobs/" in path else "manifest" for path in puts]
    assert kinds == sorted(kinds)
    order = [path.rpartition("/")[2] for path in puts if "/manifests/" in path]
    assert order[-2:] == ["1-model", "1"]
    assert order.index(world.platform.digest) < order.index(world.image.digest)
    assert order.index(world.image.digest) < order.index(world.said[0].digest)
    assert order.index(world.said[-2].digest) < order.index(world.said[-1].digest)


def test_the_fallback_tag_keeps_what_others_wrote(tmp_path: Path) -> None:
    world = make(tmp_path / "a")
    strange = {"mediaType": SAID, "digest": "sha256:" + "1" * 64, "size": 3, "theirs": [1]}
    document = {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": [strange]}
    tag = world.image.digest.replace(":", "-")
    with serving(Fake(api=False)) as fake:
        fake.add(json.dumps(document).encode(), media.INDEX, tag)
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
        listed = json.loads(fake.manifests[fake.tags[tag]][1])["manifests"]
        assert listed[0] == strange
        assert {each["digest"] for each in listed[1:]} == {
            each.digest for each in world.store.referrers(world.image.digest)
        }
        assert all("artifactType" in each for each in listed[1:])
        pulled = registries.pull(
            name_of(fake, "team/demo:1"), store=Store.create(tmp_path / "b"), access=access()
        )
    # What is listed and gone is said, not passed over in silence.
    assert pulled.missing == (strange["digest"],)


def test_somebody_else_overwrites_the_fallback_tag(tmp_path: Path) -> None:
    world = make(tmp_path / "a")
    tag = world.image.digest.replace(":", "-")
    dropped: list[str] = []

    def drop(handler: Handler) -> bool:
        path, method = handler.path, handler.command
        if method == "GET" and path.endswith(tag) and tag in fake.tags and len(dropped) < 3:
            dropped.append(fake.tags.pop(tag))
        return False

    with serving(Fake(api=False, before=drop)) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
        listed = json.loads(fake.manifests[fake.tags[tag]][1])["manifests"]
    assert len(dropped) == 3
    assert len(listed) == 2


def test_somebody_as_slow_as_we_are_overwrites_the_fallback_tag(tmp_path: Path) -> None:
    """They read it before we wrote, and write it when we may have looked again."""
    world = make(tmp_path / "a")
    tag = world.image.digest.replace(":", "-")
    slow = 0.3
    theirs: list[threading.Timer] = []

    def delay(handler: Handler) -> bool:
        if handler.command == "PUT" and handler.path.endswith(tag) and not theirs:
            time.sleep(slow)
            theirs.append(threading.Timer(slow, fake.tags.pop, (tag, None)))
            theirs[0].start()
        return False

    with serving(Fake(api=False, before=delay)) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
        theirs[0].join()
        listed = json.loads(fake.manifests[fake.tags[tag]][1])["manifests"]
    assert len(listed) == 2


@pytest.mark.parametrize("resumes", [True, False])
def test_a_cut_upload_goes_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    resumes: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr(
        upload.put, "__kwdefaults__", {"mount": "", "whole": 100_000, "chunk": 300_000}
    )
    world = make(tmp_path / "a")
    cuts = [200_000, 250_000, 10_000]
    with serving(Fake(resumes=resumes, cut_uploads=list(cuts))) as fake:
        done = registries.push("demo:1", name_of(fake), store=world.store, access=access())
    assert fake.blobs[world.layer.digest] == LAYER
    assert len(fake.completed) == len(set(fake.completed))
    if resumes:
        # What the registry had is not sent again.
        asked = [headers for verb, _, headers in fake.requests if verb == "PATCH"]
        assert [each["Content-Range"] for each in asked] == [
            "0-1048575", "200000-499999", "450000-749999", "460000-759999", "760000-1048575",
        ]  # fmt: skip
    assert done.counted.bytes_sent >= sum(map(len, fake.blobs.values()))
    assert fake.asked("GET", "/blobs/uploads/")


def test_an_answer_that_is_lost_is_not_sent_twice(tmp_path: Path) -> None:
    """The registry has all of it, and the line is cut before it can say so."""
    world = make(tmp_path / "a")
    lost: list[bool] = []

    def lose(handler: Handler) -> bool:
        if (
            handler.command == "PUT"
            and world.layer.digest.replace(":", "%3A") in handler.path
            and not lost
        ):
            lost.append(True)
            data = handler.body()
            fake.add(data or b"")
            handler.connection.close()
            handler.close_connection = True
            return True
        return False

    with serving(Fake(before=lose)) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
    assert lost
    assert fake.completed.count(world.layer.digest) == 0
    assert fake.blobs[world.layer.digest] == LAYER


def test_a_registry_wants_longer_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one piece at first; in chunks only after a cut."""
    monkeypatch.setattr(
        upload.put, "__kwdefaults__", {"mount": "", "whole": 100_000, "chunk": 100_000}
    )
    world = make(tmp_path / "a")
    with serving(Fake(minimum=400_000, resumes=False, cut_uploads=[200_000])) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
    chunks = [headers for verb, _, headers in fake.requests if verb == "PATCH"]
    assert [each["Content-Range"] for each in chunks] == [
        "0-1048575", "0-399999", "400000-799999", "800000-1048575",
    ]  # fmt: skip


def test_a_proxy_that_takes_no_long_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        upload.put, "__kwdefaults__", {"mount": "", "whole": 100_000, "chunk": 300_000}
    )
    world = make(tmp_path / "a")

    def refuse(handler: Handler) -> bool:
        if int(handler.headers.get("Content-Length") or 0) <= 400_000:
            return False
        handler.body()
        handler.error(413, "SIZE_INVALID")
        return True

    with serving(Fake(before=refuse)) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
    assert fake.blobs[world.layer.digest] == LAYER


def denying(times: int, status: int, code: str) -> tuple[Callable[[Handler], bool], list[str]]:
    """So many answers to manifests that nobody wants, and the addresses they were for."""
    asked: list[str] = []

    def deny(handler: Handler) -> bool:
        if handler.command != "PUT" or "/manifests/" not in handler.path:
            return False
        asked.append(handler.path)
        if len(asked) > times:
            return False
        handler.body()
        handler.error(status, code)
        return True

    return deny, asked


def test_a_registry_that_denies_for_a_moment_what_it_has(tmp_path: Path) -> None:
    world = make(tmp_path / "a")
    deny, asked = denying(3, 400, "MANIFEST_BLOB_UNKNOWN")
    with serving(Fake(before=deny)) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
        assert len(asked) == len(set(asked)) + 3
        clean = Store.create(tmp_path / "clean")
        registries.pull(name_of(fake, "team/demo:1"), store=clean, access=access())
    assert clean.resolve("demo:1").digest == world.store.resolve("demo:1").digest


@pytest.mark.parametrize(
    ("status", "code", "times"), [(404, "MANIFEST_BLOB_UNKNOWN", 5), (400, "MANIFEST_INVALID", 1)]
)
def test_what_a_registry_goes_on_to_refuse_is_an_error(
    tmp_path: Path, status: int, code: str, times: int
) -> None:
    world = make(tmp_path / "a")
    deny, asked = denying(1000, status, code)
    with serving(Fake(before=deny)) as fake, pytest.raises(RegistryError, match=code):
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
    assert max(asked.count(each) for each in asked) == times


def test_a_cut_download_goes_on(tmp_path: Path) -> None:
    world = make(tmp_path / "a")
    cuts = [100_000, 300_000, 1]

    def cut(handler: Handler) -> bool:
        if handler.command != "GET" or not handler.path.endswith(world.layer.digest) or not cuts:
            return False
        at = int(handler.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        handler.send_response(206 if at else 200)
        if at:
            handler.send_header("Content-Range", f"bytes {at}-{len(LAYER) - 1}/{len(LAYER)}")
        handler.send_header("Content-Length", str(len(LAYER) - at))
        handler.end_headers()
        handler.wfile.write(LAYER[at : at + cuts.pop(0)])
        handler.connection.close()
        handler.close_connection = True
        return True

    with serving(Fake(before=cut)) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
        other = Store.create(tmp_path / "b")
        registries.pull(name_of(fake, "team/demo:1"), store=other, access=access())
        ranges = [
            h.get("Range")
            for v, p, h in fake.requests
            if v == "GET" and p.endswith(world.layer.digest)
        ]
    assert cuts == []
    # With an end: a registry that has the referrers API refuses a range without one.
    last = len(LAYER) - 1
    assert ranges == [None, *(f"bytes={at}-{last}" for at in (100_000, 400_000, 400_001))]
    assert other.read(world.layer.digest) == LAYER


def test_copy_within_a_registry_mounts(tmp_path: Path) -> None:
    world = make(tmp_path / "a")
    with serving(Fake()) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
        # The fake has one folder of blobs: it must not say that they are there.
        hide = {"HEAD"}

        def away(handler: Handler) -> bool:
            if handler.command in hide and "/v2/goal/blobs/" in handler.path:
                handler.answer(404)
                return True
            return False

        fake.before = away
        before = fake.received
        done = registries.copy(
            name_of(fake, "team/demo:1"), name_of(fake, "goal"),
            from_access=access(), to_access=access(),
        )  # fmt: skip
    assert done.counted.blobs_mounted == done.counted.blobs > 5
    assert done.counted.bytes_sent == 0
    assert fake.received - before < 2 * sum(len(data) for _, data in fake.manifests.values())
    assert all("from=team%2Fdemo" in path for path in fake.asked("POST", "/v2/goal/"))


@pytest.mark.parametrize("api", [True, False])
def test_copy_between_registries(tmp_path: Path, api: bool) -> None:  # noqa: FBT001
    world = make(tmp_path / "a")
    with serving(Fake()) as one, serving(Fake(api=api)) as two:
        registries.push("demo:1", name_of(one), store=world.store, access=access())
        done = registries.copy(
            name_of(one, f"team/demo@{world.image.digest}"), name_of(two, "x:2"),
            from_access=access(), to_access=access(),
        )  # fmt: skip
    assert {*two.blobs, *two.manifests} >= world.everything()
    assert done.names == ("2-model", "2")
    assert two.tags["2"] == world.image.digest


def test_by_digest_there_is_no_tag(tmp_path: Path) -> None:
    world = make(tmp_path / "a")
    with serving(Fake()) as fake:
        done = registries.push(
            world.image.digest, name_of(fake), store=world.store, access=access()
        )
        assert (done.names, fake.tags) == ((), {})
        other = Store.create(tmp_path / "b")
        where = name_of(fake, f"team/demo@{world.image.digest}")
        assert registries.pull(where, store=other, access=access()).names == ()
        assert registries.pull(where, store=other, access=access(), name="it:2").names == (
            "it-model:2",
            "it:2",
        )


def test_a_name_that_is_taken_is_said(tmp_path: Path) -> None:
    world, other = make(tmp_path / "a"), make(tmp_path / "b", layer=b"other")
    with serving(Fake()) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
        done = registries.pull(name_of(fake, "team/demo:1"), store=other.store, access=access())
    assert done.replaced == {
        "demo:1": other.image.digest,
        "demo-model:1": other.models.digest,
    }
    assert other.store.resolve("demo:1").digest == world.image.digest


def test_the_older_form_travels_when_asked(tmp_path: Path) -> None:
    world = make(tmp_path / "a")
    att = world.image.digest.replace(":", "-") + ".att"
    old = world.store.put_json({"schemaVersion": 2, "layers": []}, world.platform.media_type)
    world.store.tag(old, att)
    with serving(Fake()) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
        assert att not in fake.tags
        registries.push("demo:1", name_of(fake), store=world.store, access=access(), classic=True)
        assert fake.tags[att] == old.digest
        other = Store.create(tmp_path / "b")
        registries.pull(name_of(fake, "team/demo:1"), store=other, access=access(), classic=True)
    assert other.resolve(att).digest == old.digest


def test_damage_in_the_store_is_healed_by_a_pull(tmp_path: Path) -> None:
    world = make(tmp_path / "a")
    with serving(Fake()) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access())
        path = world.store.path(world.layer.digest)
        path.unlink()
        path.write_bytes(b"x" * len(LAYER))
        registries.pull(name_of(fake, "team/demo:1"), store=world.store, access=access())
    assert digest_of(path.read_bytes()) == world.layer.digest


def test_names_that_make_no_sense(tmp_path: Path) -> None:
    world = make(tmp_path / "a")
    for target in ("demo:1", "h.example/demo@" + world.image.digest):
        with pytest.raises(InputError):
            registries.push("demo:1", target, store=world.store, access=access())
    with pytest.raises(InputError, match="no tag and no digest"):
        registries.pull("h.example/demo", store=world.store, access=access())
    with serving(Fake()) as fake, pytest.raises(RegistryError, match="is not there"):
        registries.pull(name_of(fake, "team/demo:9"), store=world.store, access=access())


def test_the_suffix_of_a_journal_is_that_of_journals() -> None:
    assert registries.JOURNAL == journal.SUFFIX
