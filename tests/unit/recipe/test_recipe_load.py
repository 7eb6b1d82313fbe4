from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st
from recipe_project import BASE, FILES, Project

from buildkit.errors import InputError, Problem, RecipeError
from buildkit.recipe import (
    TARGETS,
    ArtifactSource,
    CalibrationSpec,
    ConsiderationsSpec,
    DebianSpec,
    FileSource,
    GoldenSpec,
    ImageSpec,
    ModelSpec,
    PrepareSpec,
    PythonSpec,
    Recipe,
    SmokeSpec,
    TrainSource,
    load,
)

HASH = hashlib.sha256(FILES["model.onnx"].encode()).hexdigest()
# What the base recipe says, defaults filled in, written out by hand.
SAYS = {
    "schema": 1,
    "name": "digits",
    "version": "1.0.0",
    "description": "",
    "license": "",
    "source": "",
    "platforms": ["linux/amd64", "linux/arm64"],
    "targets": ["pi5", "amd64"],
    "image": {
        "dockerfile": "app/Dockerfile",
        "context": "app",
        "prune": [],
        "debian": {"suite": "bookworm", "packages": ["python3.11-minimal"], "exclude": []},
        "python": {
            "version": "3.11",
            "requirements": ["numpy", "onnxruntime==1.31.1"],
            "exclude": [],
        },
    },
    "model": {
        "task": "image-classification",
        "license": "",
        "train": {
            "script": "train.py",
            "inputs": ["data/labels.csv"],
            "requirements": [],
            "seed": 0,
        },
        "prepare": {
            "shape_inference": True,
            "fusion": "basic",
            "quantization": "static-int8",
            "per_channel": True,
            "reduce_range": True,
            "block_size": 32,
        },
        "calibration": {"data": "train:calibration.npz", "method": "minmax", "percentile": 99.99},
        "golden": {"data": "train:golden.npz", "max_drop": 0.5},
    },
}
TRAIN = '[model.train]\nscript = "train.py"\ninputs = ["data/labels.csv"]\n'


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def changed(*pairs: tuple[str, str]) -> str:
    text = BASE
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def test_the_whole_record(project: Project) -> None:
    said = json.dumps(SAYS, sort_keys=True, separators=(",", ":"))
    recipe = load(project.recipe(BASE))
    assert recipe == Recipe(
        file=project.folder / "recipe.toml",
        digest="sha256:" + hashlib.sha256(said.encode()).hexdigest(),
        document=SAYS,
        name="digits",
        version="1.0.0",
        platforms=("linux/amd64", "linux/arm64"),
        targets=(TARGETS["pi5"], TARGETS["amd64"]),
        image=ImageSpec(
            debian=DebianSpec(suite="bookworm", packages=("python3.11-minimal",)),
            python=PythonSpec(version="3.11", requirements=("numpy", "onnxruntime==1.31.1")),
            dockerfile="app/Dockerfile",
            context="app",
        ),
        model=ModelSpec(
            source=TrainSource(script="train.py", inputs=("data/labels.csv",)),
            prepare=PrepareSpec(),
            calibration=CalibrationSpec(data="train:calibration.npz"),
            golden=GoldenSpec(data="train:golden.npz", max_drop=0.5),
            task="image-classification",
        ),
    )
    assert recipe.folder == project.folder
    assert recipe.lock_file == project.folder / "recipe.lock"


def test_every_optional_key(project: Project) -> None:
    recipe = load(
        project.recipe(
            changed(
                (
                    "[image]\n",
                    """source_date_epoch = 1767225600
builder = "github:acme/env#builder"
description = "Ziffern, 8 mal 8"
license = "MIT"
source = "https://git.example.org/digits"
[image]
prune = ["usr/share/man/*", "usr/share/doc/*"]
""",
                ),
                ("[image.python]", 'exclude = ["perl-base", "dpkg"]\n[image.python]'),
                ("[model]\n", 'exclude = ["protobuf"]\n[model]\nlicense = "CC0-1.0"\n'),
                (
                    'script = "train.py"\n',
                    'script = "./train.py"\nrequirements = ["b", "a"]\nseed = 7\n',
                ),
                (
                    'quantization = "static-int8"',
                    """shape_inference = false
fusion = "none"
quantization = "static-int8"
per_channel = false
reduce_range = false
block_size = 64
""",
                ),
                (
                    'data = "train:calibration.npz"',
                    """data = "calibration.npz"
method = "percentile"
percentile = 99
samples = 20
""",
                ),
                ("max_drop = 0.5", "max_drop = 1"),
            )
        )
    )
    assert (recipe.source_date_epoch, recipe.builder) == (1767225600, "github:acme/env#builder")
    assert (recipe.description, recipe.license) == ("Ziffern, 8 mal 8", "MIT")
    assert recipe.source == "https://git.example.org/digits"
    assert recipe.image.prune == ("usr/share/doc/*", "usr/share/man/*")
    assert recipe.image.debian.exclude == ("dpkg", "perl-base")
    assert recipe.image.python.exclude == ("protobuf",)
    assert recipe.model.license == "CC0-1.0"
    assert recipe.model.source == TrainSource(
        script="train.py", inputs=("data/labels.csv",), requirements=("a", "b"), seed=7
    )
    assert recipe.model.prepare == PrepareSpec(
        shape_inference=False,
        fusion="none",
        per_channel=False,
        reduce_range=False,
        block_size=64,
    )
    assert recipe.model.calibration == CalibrationSpec(
        data="calibration.npz", method="percentile", percentile=99.0, samples=20
    )
    assert repr(recipe.model.golden.max_drop) == "1.0"


def test_considerations(project: Project) -> None:
    table = """
[model.considerations]
users = ["shops", "cafés"]
ethical = ["a wrong reading: it is shown to a person"]
"""
    without, recipe = load(project.recipe(BASE)), load(project.recipe(BASE + table))
    assert recipe.model.considerations == ConsiderationsSpec(
        users=("cafés", "shops"), ethical=("a wrong reading: it is shown to a person",)
    )
    assert recipe.document["model"]["considerations"]["limitations"] == []
    assert without.model.considerations is None
    assert "considerations" not in without.document["model"]
    assert without.digest != recipe.digest


def test_a_model_that_is_a_file(project: Project) -> None:
    table = f'[model.file]\npath = "model.onnx"\nsha256 = "{HASH}"\n'
    recipe = load(project.recipe(changed((TRAIN, table), ("train:", ""))))
    assert recipe.model.source == FileSource(path="model.onnx", sha256=HASH)
    assert recipe.model.golden.data == "golden.npz"


def test_a_model_that_is_an_artifact(project: Project) -> None:
    digest = "sha256:" + HASH
    table = f'[model.artifact]\nstore = "../here/../store/"\ndigest = "{digest}"\n'
    recipe = load(project.recipe(changed((TRAIN, table), ("train:", ""))))
    assert recipe.model.source == ArtifactSource(store="../store", digest=digest)


def test_without_preparation_there_are_the_defaults(project: Project) -> None:
    recipe = load(project.recipe(changed(('[model.prepare]\nquantization = "static-int8"\n', ""))))
    assert recipe.model.prepare == PrepareSpec()


def test_other_quantisations_need_no_calibration(project: Project) -> None:
    for kind in ("none", "dynamic-int8", "int4-weights"):
        text = changed(
            ('[model.calibration]\ndata = "train:calibration.npz"\n', ""),
            ("static-int8", kind),
        )
        recipe = load(project.recipe(text))
        assert recipe.model.prepare.quantization == kind
        assert recipe.model.calibration is None


def test_another_name_has_another_lock(project: Project) -> None:
    assert load(project.recipe(BASE, "edge.toml")).lock_file == project.folder / "edge.lock"


def test_a_relative_path_and_a_linked_folder(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.recipe(BASE)
    (tmp_path / "link").symlink_to(project.folder)
    monkeypatch.chdir(tmp_path)
    assert load(Path("link/recipe.toml")).file == project.folder.resolve() / "recipe.toml"


def test_comments_spacing_and_order_do_not_change_the_digest(project: Project) -> None:
    digest = load(project.recipe(BASE)).digest
    for pairs in (
        [("schema = 1\n", "# words\n\nschema   =  0x1 # one\n")],
        [
            (
                'name = "digits"\nversion = "1.0.0"\n',
                'version = "1.0.0"\nname = """\\\n  digits"""\n',
            )
        ],
        [('["linux/arm64", "linux/amd64"]', '[\n"linux/amd64", # first\n"linux/arm64",\n]')],
        [('["numpy", "onnxruntime==1.31.1"]', '["onnxruntime==1.31.1", "numpy"]')],
        [('"app"', '"./app/"'), ('"train.py"', '"app/../train.py"')],
        [('[model.prepare]\nquantization = "static-int8"\n', "")],
        [("[model.golden]\n", "[model.golden]\n# the default of another table\n")],
        [('data = "train:calibration.npz"', 'method = "minmax"\ndata = "train:calibration.npz"')],
        [("[image]\ndock", "[image]\nprune = []\ndock"), ("\n", "\r\n")],
    ):
        assert load(project.recipe(changed(*pairs))).digest == digest, pairs


def test_the_folder_does_not_change_the_digest(tmp_path: Path) -> None:
    digests = set()
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        digests.add(load(Project(tmp_path / name).recipe(BASE)).digest)
    assert len(digests) == 1


def test_what_the_recipe_says_changes_the_digest(project: Project) -> None:
    texts = [
        BASE,
        changed(("1.0.0", "1.0.1")),
        changed(('["pi5", "amd64"]', '["amd64", "pi5"]')),
        changed(("0.5", "0.25")),
        changed(("[image]", "source_date_epoch = 0\n[image]")),
        changed(("[model.train]", "[model.train]\nseed = 1")),
    ]
    assert len({load(project.recipe(text)).digest for text in texts}) == len(texts)


def test_all_mistakes_at_once_in_the_order_of_their_lines(project: Project) -> None:
    text = changed(
        ('name = "digits"', 'nmae = "digits"'),
        ('"linux/arm64", "linux/amd64"', '"linux/arm64"'),
        ('"pi5", "amd64"', '"pi5-hailo8", "amd64", "pi6"'),
        ("app/Dockerfile", "app/Containerfile"),
        ('"bookworm"', '"trixie"'),
        ('"train.py"', '"/train.py"'),
        ("data/labels.csv", "data/none.csv"),
        ("train:golden.npz", "golden"),
        ("max_drop = 0.5", "max_drop = -1\nextra = 1"),
    )
    with pytest.raises(RecipeError) as caught:
        load(project.recipe(text))
    assert [(problem.line, problem.path) for problem in caught.value.problems] == [
        (0, "name"),
        (2, "nmae"),
        (5, "targets[0]"),
        (5, "targets[2]"),
        (5, "targets[1]"),
        (8, "image.dockerfile"),
        (16, "image.python.version"),
        (23, "model.train.script"),
        (24, "model.train.inputs[0]"),
        (33, "model.golden.data"),
        (34, "model.golden.max_drop"),
        (35, "model.golden.extra"),
    ]
    assert all(problem.message and problem.remedy for problem in caught.value.problems)
    assert caught.value.message.endswith("recipe.toml: 12 mistakes")
    assert caught.value.exit_code == 2


def test_a_newer_form_is_one_mistake(project: Project) -> None:
    with pytest.raises(RecipeError) as caught:
        load(project.recipe('schema = 2\nname = "DIGITS"\n[novel]\nx = 1\n'))
    [problem] = caught.value.problems
    assert (problem.path, problem.line) == ("schema", 1)
    assert "newer" in problem.message


def test_a_link_that_leads_out(project: Project, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-secret"
    outside.write_text("secret")
    (project.folder / "train.py").unlink()
    (project.folder / "train.py").symlink_to(outside)
    with pytest.raises(RecipeError) as caught:
        load(project.recipe(BASE))
    [problem] = caught.value.problems
    assert "is a link that leads out of the recipe's folder" in problem.message


def test_a_link_to_itself(project: Project) -> None:
    (project.folder / "train.py").unlink()
    (project.folder / "train.py").symlink_to("train.py")
    with pytest.raises(RecipeError) as caught:
        load(project.recipe(BASE))
    [problem] = caught.value.problems
    assert problem.path == "model.train.script"


def test_a_pipe_is_no_file(project: Project) -> None:
    (project.folder / "train.py").unlink()
    os.mkfifo(project.folder / "train.py")
    with pytest.raises(RecipeError, match=r"1 mistake$"):
        load(project.recipe(BASE))


@pytest.mark.parametrize(
    ("name", "message", "remedy"),
    [
        ("none.toml", "no such file", "init"),
        ("app", "is a folder", "recipe.toml"),
        ("pipe", "is not a file", "recipe.toml"),
        ("train.py/x", "cannot be read: Not a directory", "correct"),
        ("a" * 300, "cannot be read: File name too long", "correct"),
        ("a\0b", "cannot be the name of a file", "correct"),
        ("latin1.toml", "is not UTF-8 text, from byte 8 on", "save it as UTF-8"),
        ("model.bin", "bytes, more than a recipe can have", "name a recipe.toml"),
        ("loop.toml", "cannot be read", "correct"),
    ],
)
def test_what_cannot_be_read(project: Project, name: str, message: str, remedy: str) -> None:
    os.mkfifo(project.folder / "pipe")
    (project.folder / "latin1.toml").write_bytes(b'name = "\xe9"\n')
    (project.folder / "model.bin").write_bytes(b"\n" * 300_000)
    (project.folder / "loop.toml").symlink_to("loop.toml")
    with pytest.raises(InputError) as caught:
        load(project.folder / name)
    assert not isinstance(caught.value, RecipeError)
    assert message in caught.value.message
    assert remedy in caught.value.remedy


def mistakes(folder: Path, content: bytes) -> tuple[Problem, ...]:
    """What `load` says about `content`; no other error than ours gets through."""
    file = folder / "recipe.toml"
    file.write_bytes(content)
    try:
        load(file)
    except RecipeError as error:
        return error.problems
    except InputError:
        pass
    return ()


def assert_told_well(problems: tuple[Problem, ...], content: bytes) -> None:
    lines = content.count(b"\n") + 1
    assert all(0 <= problem.line <= lines for problem in problems)
    assert all(problem.message for problem in problems)
    assert [problem.line for problem in problems] == sorted(problem.line for problem in problems)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Project(tmp_path_factory.mktemp("fuzz")).folder


@given(content=st.binary())
def test_arbitrary_bytes(folder: Path, content: bytes) -> None:
    assert_told_well(mistakes(folder, content), content)


@given(start=st.integers(0, len(BASE)), length=st.integers(0, 40), text=st.text())
def test_a_recipe_with_a_hole_filled_by_anything(
    folder: Path, start: int, length: int, text: str
) -> None:
    content = BASE[:start] + text + BASE[start + length :]
    data = content.encode(errors="replace")
    assert_told_well(mistakes(folder, data), data)


VALUES = [line.split(" = ", 1)[1] for line in BASE.splitlines() if " = " in line] + [
    "-1",
    "nan",
    "[]",
    "{}",
    "[[]]",
    "[{}]",
    "{ a = 1 }",
    "07:32:00",
    "1e400",
    "true",
    "''",
    "9" * 30,
]


@given(st.lists(st.sampled_from(VALUES), min_size=1, max_size=6), st.randoms())
def test_values_in_the_wrong_places(folder: Path, values: list[str], random: object) -> None:
    lines = BASE.splitlines()
    places = [index for index, line in enumerate(lines) if " = " in line]
    for value in values:
        index = random.choice(places)  # type: ignore[attr-defined]  # Hypothesis's own Random
        lines[index] = lines[index].split(" = ")[0] + " = " + value
    tomli.loads("\n".join(lines))
    content = "\n".join(lines).encode()
    assert_told_well(mistakes(folder, content), content)


LIMITS = """
[smoke]
profile = "release"
max_p95_ms = 10
min_accuracy = 95
providers = ["HailoExecutionProvider", "CPUExecutionProvider"]
governor = ""

[smoke.targets.pi5]
max_p95_ms = 8.5
max_memory_mib = 256
"""


def test_limits_of_the_smoke_test(tmp_path: Path) -> None:
    recipe = load(Project(tmp_path).recipe(BASE + LIMITS))
    pi5, amd64 = recipe.smoke.of("pi5"), recipe.smoke.of("amd64")
    assert (pi5.max_p95_ms, pi5.max_memory_mib, pi5.min_accuracy) == (8.5, 256, 95)
    assert (amd64.max_p95_ms, amd64.max_memory_mib, amd64.min_accuracy) == (10, None, 95)
    assert amd64.profile == "release"
    assert amd64.providers == ("HailoExecutionProvider", "CPUExecutionProvider")
    assert amd64.governor == ""
    assert amd64.max_slower is None
    assert pi5.targets == {}


def test_limits_are_not_part_of_what_is_built(tmp_path: Path) -> None:
    project = Project(tmp_path)
    without = load(project.recipe(BASE))
    limited = load(project.recipe(BASE + LIMITS))
    tighter = load(project.recipe(BASE + LIMITS.replace("10", "9")))
    assert without.smoke == SmokeSpec()
    assert limited.smoke != tighter.smoke
    assert without.digest == limited.digest == tighter.digest
    assert without.document == limited.document == tighter.document
    assert "smoke" not in limited.document
