"""The main job on real parts: sandbox, engine, both platforms, other people's tools."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from real_project import Docker, Project, make_project

from buildkit.store import Store, archive, view

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.nix, pytest.mark.engine]

MEGABYTE = 1_000_000


def layers_of(store: Store, result: dict[str, Any], platform: str) -> list[str]:
    (found,) = [item for item in result["image"]["platforms"] if item["platform"] == platform]
    return [layer["digest"] for layer in store.read_json(found["digest"])["layers"]]


def test_a_second_build_does_nothing_and_says_so(digits: Project) -> None:
    again = digits.build()
    assert again["cached"] is True
    assert set(again["seconds"]) == {"check"}
    assert "nothing to do" in digits.cli("build", digits.recipe).stdout


def test_a_build_with_nothing_to_do_loads_nothing_heavy(digits: Project) -> None:
    program = (
        "import sys; from buildkit.cli import main; status = main(sys.argv[1:]);"
        "print(sorted(sys.modules), file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "build", str(digits.recipe), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(json.loads(done.stderr.splitlines()[-1].replace("'", '"')))
    assert json.loads(done.stdout)["cached"] is True
    heavy = {"onnx", "onnxruntime", "numpy", "sigstore", "docker", "python_on_whales", "pydantic"}
    heavy |= {"cryptography"}
    assert not heavy & loaded


def test_the_image_is_small(digits: Project) -> None:
    sizes = {item["platform"]: item["size"] for item in digits.build()["image"]["platforms"]}
    assert sizes["linux/arm64"] <= 50 * MEGABYTE
    assert sizes["linux/amd64"] <= 50 * MEGABYTE


def test_accuracy_is_that_of_the_golden_inputs(digits: Project) -> None:
    accuracy = digits.build()["models"][0]["accuracy"]
    assert accuracy["float"] >= 97
    assert accuracy["quantised"] >= accuracy["float"] - 0.5


def test_a_changed_line_keeps_every_other_layer(project: Project) -> None:
    before = project.build()
    app = project.folder / "app/main.py"
    app.write_text(app.read_text() + "# a change\n")
    after = project.build()
    assert after["cached"] is False
    assert after["image"]["digest"] != before["image"]["digest"]
    assert after["models"] == before["models"]
    for platform in ("linux/amd64", "linux/arm64"):
        old = layers_of(project.store, before, platform)
        new = layers_of(project.store, after, platform)
        assert new[:-1] == old[:-1]
        assert new[-1] != old[-1]


@pytest.fixture(scope="session")
def held_out(digits: Project) -> tuple[np.ndarray[Any, Any], int]:
    """A golden digit and its label, from where the sandbox left them."""
    links = (digits.root / ".buildkit/nix").glob("digits-build-*")
    paths = json.loads(next(links).read_text())
    requisites = subprocess.run(
        ["nix-store", "--query", "--requisites", _deriver(paths["model"]["accuracy"])],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    (trained,) = [path for path in requisites if path.endswith("-model-trained.drv")]
    output = subprocess.run(
        ["nix-store", "--query", "--outputs", trained], capture_output=True, text=True, check=True
    ).stdout.strip()
    data = np.load(f"{output}/golden.npz")
    return data["input"][3], int(data["label"][3])


def _deriver(path: str) -> str:
    return subprocess.run(
        ["nix-store", "--query", "--deriver", path], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_the_image_answers_for_a_held_out_digit(
    platform: str, digits: Project, docker_api: Docker, held_out: tuple[np.ndarray[Any, Any], int]
) -> None:
    store, result = digits.store, digits.build()
    (image,) = [item for item in result["image"]["platforms"] if item["platform"] == platform]
    stream = io.BytesIO()
    archive(store, store.resolve(image["digest"]), stream, "digits:test")
    identity = docker_api.load(stream.getvalue())
    model = result["models"][0]["file_sha256"]
    weights = docker_api.volume(
        f"model-{model}", identity, {"model.onnx": store.read(f"sha256:{model}")}
    )
    sample, label = held_out
    question = json.dumps({"input": sample.tolist()}).encode()
    asked = docker_api.volume("question", identity, {"question.json": question})
    answer = docker_api.run(
        identity, ["infer", "/question/question.json"], {weights: "/model", asked: "/question"}
    )
    assert json.loads(answer)["label"] == label


def test_skopeo_reads_the_store(digits: Project, tmp_path: Path) -> None:
    digest = digits.build()["image"]["digest"]
    raw = subprocess.run(
        ["skopeo", "inspect", "--raw", f"oci:{digits.store.root}:digits:1.0.0"],
        capture_output=True,
        check=True,
    ).stdout
    assert raw == digits.store.read(digest)
    subprocess.run(
        ["skopeo", "copy", "--all", "--quiet", f"oci:{digits.store.root}:digits:1.0.0",
         f"oci:{tmp_path / 'copy'}:digits"],
        check=True,
    )  # fmt: skip
    assert Store.open(tmp_path / "copy").resolve("digits").digest == digest


def test_oras_reads_the_store(digits: Project, oras: list[str]) -> None:
    digest = digits.build()["image"]["digest"]
    where = f"{digits.store.root}@{digest}"
    fetched = subprocess.run(
        [*oras, "manifest", "fetch", "--oci-layout", where], capture_output=True, check=True
    ).stdout
    assert fetched == digits.store.read(digest)
    said = subprocess.run(
        [*oras, "discover", "--oci-layout", "--format", "json", where],
        capture_output=True,
        check=True,
    ).stdout
    kinds = {item["artifactType"] for item in json.loads(said)["manifests"]}
    assert "application/vnd.edge-buildkit.build.v1+json" in kinds


@pytest.fixture(scope="session")
def oras(digits: Project, engine: object) -> list[str]:
    """The pinned oras, as the first words of an argv."""
    del engine
    (link,) = (digits.root / ".buildkit/nix").glob("digits-hostTools-*")
    paths = json.loads(link.read_text())
    program = f"{paths['tools']}/usr/bin/oras"
    return [paths["loader"], "--library-path", paths["library_path"], program]


def test_a_view_of_one_platform_has_one_manifest(digits: Project, tmp_path: Path) -> None:
    (first, *_) = digits.build()["image"]["platforms"]
    view(digits.store, first["digest"], tmp_path / "view")
    raw = subprocess.run(
        ["skopeo", "inspect", "--raw", f"oci:{tmp_path / 'view'}"], capture_output=True, check=True
    ).stdout
    assert raw == digits.store.read(first["digest"])


def test_labels_and_annotations_say_where_it_comes_from(digits: Project) -> None:
    store, result = digits.store, digits.build()
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=digits.root, capture_output=True, text=True, check=True
    ).stdout.strip()
    for item in result["image"]["platforms"]:
        config = store.read_json(store.read_json(item["digest"])["config"]["digest"])
        labels = config["config"]["Labels"]
        assert labels["org.opencontainers.image.revision"] == revision
        assert labels["org.opencontainers.image.version"] == "1.0.0"
        assert labels["org.opencontainers.image.created"] == "2026-01-01T00:00:00Z"
        assert labels["io.edge-buildkit.lock.digest"] == result["lock"]["digest"]
        index = store.resolve("digits-model:1.0.0").digest
        assert labels["io.edge-buildkit.model.digest"] == index


def test_the_model_is_an_artifact_per_target(digits: Project) -> None:
    store, result = digits.store, digits.build()
    index = store.read_json(store.resolve("digits-model:1.0.0").digest)
    assert [item["digest"] for item in index["manifests"]] == [
        model["digest"] for model in result["models"]
    ]
    for model in result["models"]:
        manifest = store.read_json(model["digest"])
        assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
        weight, card = manifest["layers"]
        assert weight["digest"] == f"sha256:{model['file_sha256']}"
        facts = store.read_json(card["digest"])
        assert facts["runtime"]["target"] == model["target"]
        assert facts["signature"]["inputs"][0]["name"] == "input"
        assert facts["accuracy"]["quantised"] == model["accuracy"]["quantised"]


def test_a_dockerfile_may_end_on_the_base(project: Project) -> None:
    before = project.build()
    dockerfile = project.folder / "app/Dockerfile"
    # The same steps, on the base, and one more that runs a program of each architecture.
    text = dockerfile.read_text().replace("FROM scratch", "FROM base")
    step = "RUN [\"/usr/bin/python3.11\", \"-c\", \"import numpy; open('/ran', 'w').write('1')\"]"
    dockerfile.write_text(text.replace("WORKDIR /app", f"{step}\nWORKDIR /app"))
    after = project.build()
    for platform in ("linux/amd64", "linux/arm64"):
        old = layers_of(project.store, before, platform)
        new = layers_of(project.store, after, platform)
        assert new[:2] == old[:2]
        assert len(new) == len(old) + 1
    shutil.rmtree(project.store.root)
    assert project.build()["image"]["digest"] == after["image"]["digest"]


def test_two_clones_on_unlike_machines_give_the_same_bytes(tmp_path: Path) -> None:
    one = make_project(tmp_path / "one", "digits")
    subprocess.run(["git", "clone", "-q", one.root, tmp_path / "elsewhere/b"], check=True)
    two = Project(tmp_path / "elsewhere/b", "digits")
    home = tmp_path / "home"
    home.mkdir()
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))  # noqa: PTH111
    unlike = {
        "TZ": "Pacific/Auckland",
        "LANG": "tr_TR.UTF-8",
        "LC_ALL": "C",
        "USER": "someone",
        "LOGNAME": "someone",
        "HOME": str(home),
        "XDG_CACHE_HOME": cache,
        "PYTHONHASHSEED": "7",
    }
    prefix = ("taskset", "-c", "0", "sh", "-c", 'umask 077; exec "$@"', "sh")
    # `git clone` under another umask leaves other modes behind as well.
    for file in two.folder.rglob("*"):
        file.chmod(0o700 if file.is_dir() else 0o600)
    results = [one.build(), two.build(env=unlike, prefix=prefix)]
    for key in ("recipe", "lock", "image", "models"):
        assert results[0][key] == results[1][key]


def test_two_locks_of_unlike_clones_are_the_same_file(tmp_path: Path) -> None:
    one = make_project(tmp_path / "one", "digits")
    subprocess.run(["git", "clone", "-q", one.root, tmp_path / "b"], check=True)
    two = Project(tmp_path / "b", "digits")
    one.cli("lock", one.recipe)
    two.cli("lock", two.recipe, env={"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "3"})
    assert one.lock.read_bytes() == two.lock.read_bytes()


def test_after_fetch_a_build_needs_no_network(project: Project, digits: Project) -> None:
    project.cli("fetch", project.recipe)
    alone = ("unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh")
    assert project.build(prefix=alone)["image"] == digits.build()["image"]
