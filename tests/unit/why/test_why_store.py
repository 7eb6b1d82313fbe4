"""Two artifacts of a store, made by hand: from the entry of a lock down to the file."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import validate
from why_scene import (
    Made,
    archive,
    attach_build,
    entry,
    new_store,
    packed,
    put_image,
    repinned,
    sample,
    sources,
    touched,
)

from buildkit import why
from buildkit.cli import main
from buildkit.errors import InputError, StoreError, ToolError
from buildkit.lock import codec
from buildkit.run import Result, run
from buildkit.store import Store
from buildkit.why import diffoscope
from buildkit.why.types import CAUSES, EFFECTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from buildkit.records import Descriptor
    from buildkit.why import Explanation

DEBIAN, PYTHON = "edge-buildkit: Debian packages", "edge-buildkit: Python wheels"
SITE = "usr/local/lib/python3.11/dist-packages"
ARM, AMD = "linux/arm64", "linux/amd64"

_NAMED = {
    "type": "object",
    "required": ["kind", "subject", "before", "after"],
    "properties": {
        "kind": {"enum": [*CAUSES, *EFFECTS]},
        "subject": {"type": "string", "minLength": 1},
        "before": {"type": "string"},
        "after": {"type": "string"},
    },
}
_REASON = {
    "allOf": [
        _NAMED,
        {
            "required": ["explains"],
            "properties": {
                "explains": {
                    "type": "array",
                    "items": {"allOf": [_NAMED, {"required": ["where", "detail", "sure"]}]},
                }
            },
        },
    ]
}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["schema", "a", "b", "identical", "causes", "unexplained", "unrelated", "notes"],
    "properties": {
        "schema": {"const": "buildkit/why/v1"},
        "a": {"type": "object", "required": ["name", "digest"]},
        "b": {"type": "object", "required": ["name", "digest"]},
        "identical": {"type": "boolean"},
        "causes": {"type": "array", "items": _REASON},
        "unexplained": {"type": "array", "items": _REASON},
        "unrelated": {"type": "array", "items": _NAMED},
        "notes": {"type": "array", "items": {"type": "string"}},
    },
}


def python_layer(numpy: bytes = b"1", other: bytes = b"1") -> bytes:
    return packed(
        entry(f"{SITE}/numpy-2.4.6.dist-info/RECORD", b"numpy/a.py,,\n"),
        entry(f"{SITE}/numpy/a.py", numpy),
        entry(f"{SITE}/onnxruntime-1.31.1.dist-info/RECORD", b"onnxruntime/b.py,,\n"),
        entry(f"{SITE}/onnxruntime/b.py", other),
    )


def debian_layer(zlib: bytes = b"1") -> bytes:
    return packed(
        entry("usr/lib/libz.so.1", zlib),
        entry("var/lib/dpkg/status.d/zlib1g", b"Package: zlib1g\n"),
        entry("var/lib/dpkg/status.d/zlib1g.md5sums", b"0  usr/lib/libz.so.1\n"),
    )


def app_layer(code: bytes = b"1", mtime: int = 0) -> bytes:
    return packed(entry("app/main.py", code, mtime=mtime))


def image(
    debian: bytes | None = None, python: bytes | None = None, app: bytes | None = None, **more: Any
) -> Made:
    stack = (
        (DEBIAN, debian or debian_layer()),
        (PYTHON, python or python_layer()),
        ("COPY main.py /app/", app or app_layer()),
    )
    return Made(layers={ARM: stack}, **more)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(tmp_path)


def explained(store: Store, a: Descriptor, b: Descriptor) -> Explanation:
    found = why.refs(store, a.digest, store, b.digest)
    validate(found.to_json(), SCHEMA)
    return found


def causes(found: Explanation) -> list[tuple[str, str]]:
    return [(each.what.kind, each.what.subject) for each in found.causes]


def effects(found: Explanation, number: int = 0) -> list[str]:
    return [each.effect.subject for each in found.causes[number].explains]


def build(store: Store, made: Made, lock: Any = None, listed: Any = None) -> Descriptor:
    top = put_image(store, made)
    attach_build(store, top, lock or sample(), listed or sources(app__main_py="1"))
    return top


def test_a_wheel_that_moved_explains_its_files_and_their_layer(store: Store) -> None:
    a = build(store, image(labels={"io.edge-buildkit.lock.digest": "1"}))
    b = build(
        store,
        image(python=python_layer(numpy=b"2"), labels={"io.edge-buildkit.lock.digest": "2"}),
        repinned(sample(), ARM, "numpy"),
    )
    found = explained(store, a, b)
    assert causes(found) == [("wheel", "numpy")]
    assert effects(found) == [
        f"{ARM}: layer 2 (Python wheels)",
        f"{SITE}/numpy/a.py",
        "label io.edge-buildkit.lock.digest",
    ]
    assert all(each.sure for each in found.causes[0].explains)
    assert found.unexplained == ()


def test_a_debian_package_that_moved(store: Store) -> None:
    a = build(store, image())
    b = build(store, image(debian=debian_layer(b"2")), repinned(sample(), ARM, "zlib1g"))
    found = explained(store, a, b)
    assert causes(found) == [("debian", "zlib1g")]
    assert "usr/lib/libz.so.1" in effects(found)
    assert found.unexplained == ()


def test_a_file_of_another_wheel_is_unexplained(store: Store) -> None:
    a = build(store, image())
    b = build(
        store,
        image(python=python_layer(numpy=b"2", other=b"2")),
        repinned(sample(), ARM, "numpy"),
    )
    found = explained(store, a, b)
    assert causes(found) == [("wheel", "numpy")]
    assert [each.what.subject for each in found.unexplained] == [f"{SITE}/onnxruntime/b.py"]


def test_a_wheel_of_another_platform_explains_nothing_here(store: Store) -> None:
    a = build(store, image())
    b = build(store, image(python=python_layer(numpy=b"2")), repinned(sample(), AMD, "numpy"))
    found = explained(store, a, b)
    assert causes(found) == [("wheel", "numpy")]
    assert effects(found) == []
    assert [each.what.subject for each in found.unexplained] == [f"{SITE}/numpy/a.py"]


def test_another_file_of_the_same_inputs_is_the_interesting_finding(store: Store) -> None:
    a, b = build(store, image()), build(store, image(debian=debian_layer(b"2")))
    found = explained(store, a, b)
    assert found.causes == ()
    (reason,) = found.unexplained
    assert reason.what.subject == "usr/lib/libz.so.1"
    assert [each.effect.kind for each in reason.explains] == ["layer"]


def test_an_app_file_a_dockerfile_and_a_revision(store: Store) -> None:
    first = sources(app__main_py="1", app__Dockerfile="1")
    a = build(store, image(config={"User": "1"}), listed=first)
    second = {**sources(app__main_py="2", app__Dockerfile="2"), "revision": "2" * 40}
    made = image(app=app_layer(b"2"), config={"User": "2"})
    found = explained(store, a, build(store, made, listed=second))
    assert causes(found) == [
        ("dockerfile", "app/Dockerfile"),
        ("app-file", "app/main.py"),
    ]
    assert effects(found) == ["config.User"]
    assert effects(found, 1)[1:] == ["app/main.py"]
    assert [each.kind for each in found.unrelated] == ["revision"]


def test_times_come_of_the_epoch(store: Store) -> None:
    a = build(store, image())
    listed = {**sources(app__main_py="1"), "epoch": 5}
    found = explained(store, a, build(store, image(app=app_layer(mtime=5)), listed=listed))
    assert causes(found) == [("epoch", "epoch")]
    assert effects(found)[1:] == ["app/main.py"]


def test_compression_alone_is_unexplained(store: Store) -> None:
    import gzip

    data = archive(entry("app/main.py", b"1" * 1000))
    a = build(store, image(app=gzip.compress(data, 9, mtime=0)))
    b = build(store, image(app=gzip.compress(data, 1, mtime=0)))
    (reason,) = explained(store, a, b).unexplained
    assert reason.what.kind == "packing"


def test_our_own_code_may_be_the_reason_for_anything(store: Store) -> None:
    a = build(store, image())
    listed = {**sources(app__main_py="1"), "code": "sha256:other"}
    found = explained(store, a, build(store, image(debian=debian_layer(b"2")), listed=listed))
    assert causes(found) == [("code", "code")]
    assert not any(each.sure for each in found.causes[0].explains)


def test_without_a_build_record_it_says_so(store: Store) -> None:
    a, b = put_image(store, image()), put_image(store, image(app=app_layer(b"2")))
    found = explained(store, a, b)
    assert len(found.notes) == 2
    assert [each.what.subject for each in found.unexplained] == ["app/main.py"]


def test_a_record_that_cannot_be_read_is_passed_over(store: Store) -> None:
    a, b = put_image(store, image()), put_image(store, image(app=app_layer(b"2")))
    for top in (a, b):
        store.attach(
            top, "application/vnd.edge-buildkit.build.v1+json", [(b"no JSON", "text/plain")]
        )
    found = explained(store, a, b)
    assert "cannot be read" in found.notes[0]
    assert found.unexplained


@pytest.mark.parametrize(
    "config",
    [{"Env": 5}, {"Env": ["A=1"], "Labels": []}, {"Entrypoint": {"a": [[[{}]]]}}, {"\x1b[2J": "x"}],
)
def test_configurations_of_any_form(config: dict[str, Any], store: Store) -> None:
    a, b = put_image(store, image()), put_image(store, image(config=config))
    found = explained(store, a, b)
    assert {each.what.kind for each in found.unexplained} == {"image-config"}


def test_layers_that_cannot_be_looked_into(store: Store) -> None:
    a, b = (build(store, image(app=b"zstandard" + each)) for each in (b"1", b"2"))
    found = explained(store, a, b)
    assert [each.what.kind for each in found.unexplained] == ["layer"]
    assert "cannot be looked into" in found.notes[0]


def test_one_platform_against_another(store: Store) -> None:
    stack = image().layers[ARM]
    top = build(store, Made(layers={ARM: stack, AMD: (*stack[:2], ("COPY", app_layer(b"2")))}))
    arm, amd = (each["digest"] for each in store.read_json(top.digest)["manifests"])
    found = why.refs(store, arm, store, amd)
    assert causes(found) == [("platform", "platform")]
    assert found.unexplained == ()
    alike = why.refs(store, top.digest, store, arm)
    assert alike.identical
    assert alike.notes


def test_a_platform_more(store: Store) -> None:
    stack = image().layers[ARM]
    a = build(store, image())
    document = {**sample().recipe, "platforms": [ARM]}
    from why_scene import with_recipe

    b = build(store, Made(layers={ARM: stack, AMD: stack}), with_recipe(sample(), document))
    found = explained(store, a, b)
    assert causes(found) == [("recipe", "platforms")]
    assert effects(found) == ["platform linux/amd64"]


def test_two_stores(tmp_path: Path, store: Store) -> None:
    other = Store.create(tmp_path / "other")
    a, b = build(store, image()), build(other, image(app=app_layer(b"2")))
    found = why.refs(store, a.digest, other, b.digest)
    assert [each.what.subject for each in found.unexplained] == ["app/main.py"]


def test_what_cannot_be_told(store: Store) -> None:
    a = build(store, image())
    record = store.referrers(a.digest)[0]
    with pytest.raises(InputError, match="neither an image nor a model"):
        why.refs(store, a.digest, store, record.digest)
    with pytest.raises(StoreError):
        why.refs(store, a.digest, store, "nothing:1")
    b = build(store, image(app=app_layer(b"2")))
    manifest = store.read_json(store.read_json(b.digest)["manifests"][0]["digest"])
    layer = store.path(manifest["layers"][2]["digest"])
    layer.chmod(0o644)
    layer.write_bytes(b"damaged")
    with pytest.raises(StoreError, match="expected sha256:"):
        why.refs(store, a.digest, store, b.digest)
    layer.unlink()
    with pytest.raises(StoreError):
        why.refs(store, a.digest, store, b.digest)


def test_the_command(tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    a = build(store, image())
    hostile = packed(entry("app/\x1b[2Jmain\u202e.py", b"2"))
    b = build(store, image(app=hostile))
    words = ["why", a.digest, b.digest, "--store", str(store.root)]
    assert main(words) == 1
    text = capsys.readouterr().out
    assert "unexplained" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert main([*words, "--json"]) == 1
    validate(json.loads(capsys.readouterr().out), SCHEMA)
    assert main(["why", a.digest, a.digest, "--store", str(store.root)]) == 0
    assert "identical" in capsys.readouterr().out
    assert main(["why", a.digest, "0123456789", "--store", str(store.root)]) == 2
    capsys.readouterr()

    lock = sample()
    for name, each in (("a", lock), ("b", touched(lock, "train.py"))):
        (tmp_path / f"{name}.lock").write_bytes(codec.dump(each))
    files = [str(tmp_path / "a.lock"), str(tmp_path / "b.lock")]
    assert main(["why", *files]) == 1
    assert "training script train.py" in capsys.readouterr().out
    assert main(["why", files[0], files[0]]) == 0
    assert main(["why", files[0], a.digest]) == 2
    assert main(["why", *files, "--diffoscope"]) == 2
    (tmp_path / "b.lock").write_bytes(b"{}")
    assert main(["why", *files]) == 2


class Diffoscope:
    """A runner that knows diffoscope alone, and answers with what both files hold."""

    def __init__(self, code: int = 1) -> None:
        self.code = code

    def __call__(self, argv: Sequence[str | Path], **how: Any) -> Result:
        a, b = argv[-2:]
        assert argv[-3] == "--"
        assert how["env"]["TMPDIR"] == str(how["cwd"])
        said = b"".join(
            str(file).encode() + b": " + (how["cwd"] / file).read_bytes() + b"\n" for file in (a, b)
        )
        return Result(argv=tuple(map(str, argv)), code=self.code, stdout=said * 300, stderr="no")


def test_the_inside_of_the_first_changed_file(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "diffoscope").write_text("#!/bin/sh\n")
    (tmp_path / "diffoscope").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    a, b = build(store, image()), build(store, image(app=app_layer(b"2")))
    found = why.refs(store, a.digest, store, b.digest)
    title, *shown, cut = why.inside(found, store, store, runner=Diffoscope())
    assert title == "inside app/main.py, as diffoscope shows it:"
    assert shown[:2] == ["a/main.py: 1", "b/main.py: 2"]
    assert (len(shown), cut) == (diffoscope.MOST_LINES, "… and 400 more lines")
    same = why.refs(store, a.digest, store, a.digest)
    assert "nothing to show" in why.inside(same, store, store, runner=Diffoscope())[0]
    with pytest.raises(ToolError, match=r"could not compare app/main\.py"):
        why.inside(found, store, store, runner=Diffoscope(code=2))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(ToolError, match="diffoscope is not on this machine") as caught:
        why.inside(found, store, store, runner=Diffoscope())
    assert "diffoscope-minimal" in caught.value.remedy


def test_lock_files_of_one_content(tmp_path: Path) -> None:
    lock = replace(sample())
    for name in "ab":
        (tmp_path / name).write_bytes(codec.dump(lock))
    assert why.lock_files(tmp_path / "a", tmp_path / "b").identical


def test_two_images_are_compared_without_loading_onnx(store: Store) -> None:
    a, b = build(store, image()), build(store, image(app=app_layer(b"2")))
    program = (
        "import sys\n"
        "from buildkit.cli import main\n"
        f"status = main(['why', '{a.digest}', '{b.digest}', '--store', '{store.root}'])\n"
        "heavy = {'onnx', 'numpy', 'onnxruntime', 'google.protobuf'} & set(sys.modules)\n"
        "sys.exit(9 if heavy else status)\n"
    )
    assert run([sys.executable, "-c", program], check=False).code == 1
