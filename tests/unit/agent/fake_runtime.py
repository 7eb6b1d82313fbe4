"""Stands for docker, podman, crun, umoci and sudo: their command lines, without containers."""

import hashlib
import io
import json
import os
import sys
import tarfile
import time
from pathlib import Path

STATE = Path(os.environ["FAKE_STATE"])
MODE = json.loads((STATE / "mode.json").read_text()) if (STATE / "mode.json").exists() else {}


def main(name: str, words: list[str]) -> int:
    with (STATE / "calls").open("a") as log:
        log.write(json.dumps([name, *words]) + "\n")
    if name == "sudo":
        os.execvp(words[1], words[1:])  # noqa: S606 - as sudo does
    if name == "umoci":
        return unpack(words)
    if name == "crun":
        return crun(words)
    return engine(name, words)


def engine(name: str, words: list[str]) -> int:
    images = STATE / f"{name}-images"
    images.mkdir(exist_ok=True)
    if words[0] in {"version", "--version"}:
        sys.stdout.write(f"{name} version 24.0.7\n" if name == "podman" else "24.0.7\n")
        return int(MODE.get("no_daemon", 0))
    if words[0] == "image":
        return image(name, words[1], images / words[-1].removeprefix("sha256:"))
    if words[0] == "load":
        return load(images)
    if words[0] == "inspect":
        sys.stdout.write(str(MODE.get("oom", False)).lower() + "\n")
        return 0
    if words[0] == "rm":
        return remove(words[-1], "Error: No such container: x\n")
    assert words[0] == "run", words
    container = next(word for word in words if word.startswith("--name="))
    return contain(container.partition("=")[2], next(w for w in words if "entrypoint" in w))


def image(name: str, what: str, file: Path) -> int:
    if not file.exists():
        return 1
    if what == "inspect":
        sys.stdout.write(("" if name == "podman" else "sha256:") + file.name + "\n")
    else:
        file.unlink()
    return 0


def load(images: Path) -> int:
    if "load_fails" in MODE:
        sys.stderr.write(MODE["load_fails"])
        return 1
    with tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read())) as tar:
        files = {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]
    for path, data in files.items():
        if path.startswith("blobs/sha256/"):
            assert hashlib.sha256(data).hexdigest() == path.rpartition("/")[2]
    (listing,) = json.loads(files["manifest.json"])
    (entry,) = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(files["blobs/sha256/" + entry["digest"][7:]])
    wanted = ["blobs/sha256/" + each["digest"][7:] for each in manifest["layers"]]
    assert listing["Layers"] == wanted
    assert listing["Config"] in files
    newer = MODE.get("store") == "containerd"
    (images / (entry["digest"][7:] if newer else listing["Config"].rpartition("/")[2])).touch()
    return 0


def crun(words: list[str]) -> int:
    if words[0] == "--version":
        sys.stdout.write("crun version 1.8.1\ncommit: f8a096\n")
        return 0
    if words[0] == "delete":
        return remove(words[-1], "container `x` does not exist\n")
    assert words[:3] == ["--cgroup-manager=cgroupfs", "run", "--bundle"], words
    config = json.loads((Path(words[3]) / "config.json").read_text())
    assert (Path(config["root"]["path"]) / "etc").is_dir()
    return contain(words[-1], config["process"]["args"][0])


def unpack(words: list[str]) -> int:
    layout, _, tag = words[words.index("--image") + 1].rpartition(":")
    (entry,) = json.loads((Path(layout) / "index.json").read_text())["manifests"]
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == tag
    manifest = json.loads((Path(layout) / "blobs/sha256" / entry["digest"][7:]).read_text())
    for each in (manifest["config"], *manifest["layers"]):
        data = (Path(layout) / "blobs/sha256" / each["digest"][7:]).read_bytes()
        assert "sha256:" + hashlib.sha256(data).hexdigest() == each["digest"]
    bundle = Path(words[-1])
    (bundle / "rootfs/etc").mkdir(parents=True)
    user = {"uid": 65532, "gid": 65532}
    (bundle / "config.json").write_text(json.dumps({"process": {"user": user}}))
    if "unpack_fails" in MODE:
        sys.stderr.write(MODE["unpack_fails"])
        return 1
    return 0


def contain(name: str, python: str) -> int:
    """Run until told otherwise: a container is a file, and without it the program ends."""
    here = STATE / "containers" / name
    here.write_text(str(os.getpid()))
    if python.endswith(tuple(MODE.get("no_python", ()))):
        sys.stderr.write(f'exec: "{python}": executable file not found in $PATH\n')
        return 127
    if MODE.get("began", True):
        sys.stdout.write("began\n")
        sys.stdout.flush()
    while MODE.get("sleeps"):
        if not here.exists():
            return 137
        time.sleep(0.02)
    sys.stderr.write(MODE.get("says", ""))
    if MODE.get("report") is not None:
        sys.stdout.write(json.dumps(MODE["report"]))
    sys.stdout.write(" " * MODE.get("blanks", 0))
    return int(MODE.get("code", 0))


def remove(name: str, absent: str) -> int:
    here = STATE / "containers" / name
    if MODE.get("stays"):
        sys.stderr.write("the daemon does not answer\n")
        return 1
    if here.exists():
        here.unlink()
        return 0
    sys.stderr.write(absent)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[0]).name, sys.argv[1:]))
