"""Every way to write a recipe wrong, with what is said about it, and on which line."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from recipe_project import BASE, Project

from buildkit.errors import RecipeError
from buildkit.recipe import load

if TYPE_CHECKING:
    from pathlib import Path

A = "a" * 64
TRAIN = '[model.train]\nscript = "train.py"\ninputs = ["data/labels.csv"]\n'
CALIBRATION = '[model.calibration]\ndata = "train:calibration.npz"\n'
GOLDEN = 'data = "train:golden.npz"'
PLATFORMS = 'platforms = ["linux/arm64", "linux/amd64"]'
TARGETS = 'targets = ["pi5", "amd64"]'
PACKAGES = 'packages = ["python3.11-minimal"]'
REQUIREMENTS = 'requirements = ["numpy", "onnxruntime==1.31.1"]'
QUANTIZATION = 'quantization = "static-int8"'
NO_SCRIPT = (("train:golden", "golden"), ("train:calibration", "calibration"))
NO_DROP = (("max_drop = 0.5", ""),)
MARK_MODEL = (("[model]", "[model] #@"),)
HASH = hashlib.sha256(b"not yet looked into\n").hexdigest()
ABSOLUTE = "must be a relative path"
OUTSIDE = "leads out of the recipe's folder"


@dataclass(frozen=True)
class Case:
    """One mistake: `old` of the base recipe becomes `new`; the line is the one that ends in #@.

    Without such a line the mistake has none, so the line is 0.
    """

    id: str
    old: str
    new: str
    path: str
    message: str
    remedy: str
    more: tuple[tuple[str, str], ...] = ()


def model_file(id_: str, table: str, path: str, message: str, remedy: str) -> Case:
    """A mistake in another source of the model."""
    return Case(id_, TRAIN, table, path, message, remedy, NO_SCRIPT)


def smoke(id_: str, text: str, path: str, message: str, remedy: str) -> Case:
    """A mistake in the limits."""
    return Case(id_, "[model]\n", f"{text} #@\n[model]\n", path, message, remedy)


CASES = [
    # smoke
    smoke(
        "limit of another name",
        "[smoke]\nmax_p96_ms = 1",
        "smoke.max_p96_ms",
        "is not a known key",
        "did you mean max_p9",
    ),
    smoke(
        "limit below nothing",
        "[smoke]\nmax_p50_ms = -1",
        "smoke.max_p50_ms",
        "must be a number from 0 to 86400000, is -1",
        "write a number such as 8",
    ),
    smoke(
        "limit that is not a number",
        '[smoke]\nmin_accuracy = "95"',
        "smoke.min_accuracy",
        'must be a number, is "95"',
        "write a number such as 95",
    ),
    smoke(
        "too few samples for a bound",
        "[smoke]\nmin_samples = 10",
        "smoke.min_samples",
        "must be a whole number from 90",
        "write a number such as 900",
    ),
    smoke(
        "no attempt",
        "[smoke]\nattempts = 0",
        "smoke.attempts",
        "must be a whole number from 1",
        "write a number such as 3",
    ),
    smoke(
        "profile of another name",
        '[smoke]\nprofile = "long"',
        "smoke.profile",
        'must be "quick", "smoke" or "release", is "long"',
        'write "release"',
    ),
    smoke(
        "provider by its short name",
        '[smoke]\nproviders = ["Hailo"]',
        "smoke.providers[0]",
        "must be the name of an execution provider",
        "get_available_providers",
    ),
    smoke(
        "share of an accelerator that is not asked for",
        "[smoke]\nmin_on_accelerator = 90",
        "smoke.min_on_accelerator",
        "needs an accelerator, and only the CPU is asked for",
        "name its execution provider",
    ),
    smoke(
        "page of no kernel",
        "[smoke]\npage_bytes = 8192",
        "smoke.page_bytes",
        "must be 4096, 16384 or 65536, is 8192",
        "write 16384",
    ),
    smoke(
        "limits of a target that is not known",
        "[smoke.targets.pi6]",
        "smoke.targets.pi6",
        "is not a known key",
        "did you mean pi5?",
    ),
    Case(
        "limits of a target that is not named",
        TARGETS,
        'targets = ["amd64"]',
        "smoke.targets.pi5",
        '"pi5" is not among the targets of this recipe',
        'add "pi5" to targets, or remove the table',
        (("[model]\n", "[smoke.targets.pi5] #@\n[model]\n"),),
    ),
    # model.considerations
    Case(
        "considerations of another name",
        "[model.golden]",
        '[model.considerations]\nuser = ["shops"] #@\n[model.golden]',
        "model.considerations.user",
        "is not a known key",
        "did you mean users?",
    ),
    Case(
        "a consideration of two lines",
        "[model.golden]",
        '[model.considerations]\nethical = ["a\\nb"] #@\n[model.golden]',
        "model.considerations.ethical[0]",
        "must be one line",
        "leave out line breaks",
    ),
    # The document
    Case("not TOML", "[image]\n", "[image #@\n", "", "column 8: the header of a table", "[TABLE]"),
    Case("no value", "schema = 1", "schema = #@", "", "not TOML", "double quotes"),
    Case("no quotes", '"digits"', "digits #@", "", "the value is not TOML", "double quotes"),
    Case("open string", '"digits"', '"digits #@', "", "not closed on its line", "closing quote"),
    Case("key twice", "schema = 1", "schema = 1\nschema = 1 #@", "", "a key stands twice", "one"),
    Case("table twice", "[model]\n", "[image] #@\n[model]\n", "", "a table stands twice", "one h"),
    Case("open array", '"pi5", "amd64"]', '"pi5" "amd64"] #@', "", "a comma is missing", "`,`"),
    Case("bad date", "schema = 1", "schema = 2026-02-31 #@", "", "no such date", "2026-01-31"),
    Case("no equals sign", "schema = 1", "schema 1 #@", "", "no `=` after a key", "KEY = VALUE"),
    Case("two on a line", "schema = 1", "schema = 1 a = 2 #@", "", "on the same line", "new line"),
    Case("backslash", '"app"', '"a\\qpp" #@', "", "a backslash in a string", "twice"),
    Case("no statement", "schema = 1", "= 1 #@", "", "neither a key nor a table", "KEY = VALUE"),
    Case("byte-order mark", "schema = 1", "\ufeffschema = 1 #@", "", "byte-order mark", "UTF-8"),
    Case("adds to closed", "[model]\n", "[targets.x] #@\n[model]\n", "", "not TOML", ""),
    Case("huge number", "schema = 1", "schema = " + "9" * 5000, "", "cannot be read", "smaller"),
    # schema
    Case("schema missing", "schema = 1", "", "schema", "is missing", "write schema = 1"),
    Case("schema old", "schema = 1", "schema = 0 #@", "schema", "from 1 to 1, is 0", "1"),
    Case("schema newer", "schema = 1", "schema = 2 #@", "schema", "newer than 1", "install"),
    Case("schema string", "schema = 1", 'schema = "1" #@', "schema", 'is "1"', "such as 1"),
    Case("schema true", "schema = 1", "schema = true #@", "schema", "is true", "such as 1"),
    # keys and tables
    Case("unknown key", "schema = 1", "schema = 1\nnmae = 1 #@", "nmae", "not a known", "n name?"),
    Case("far key", "schema = 1", "schema = 1\nzzz = 1 #@", "zzz", "not a known", "known here: sc"),
    Case("quoted key", "schema = 1", 'schema = 1\n"z z" = 1 #@', '"z z"', "not a known", "known"),
    Case(
        "key in the wrong table",
        'context = "app"',
        'context = "app"\npackages = [] #@',
        "image.packages",
        "is not a known key",
        "it belongs in [image.debian]",
    ),
    Case(
        "key below a header",
        'context = "app"',
        'context = "app"\nbuilder = "github:a/b" #@',
        "image.builder",
        "is not a known key",
        "it belongs at the top, before the first [table]",
    ),
    Case(
        "unknown table",
        "[model.golden]",
        "[model.golden.more.and.more] #@\n[model.golden]",
        "model.golden.more",
        "is not a known key",
        "known here: data, max_drop",
    ),
    Case(
        "not a table",
        "[model.prepare]\n" + QUANTIZATION,
        "[[model.prepare]] #@\n" + QUANTIZATION,
        "model.prepare",
        "must be a table, is an array",
        "write [model.prepare]",
    ),
    Case("name missing", 'name = "digits"', "", "name", "is missing: name of", 'name = "digits"'),
    Case("version missing", 'version = "1.0.0"', "", "version", "is missing", "version ="),
    Case("platforms missing", PLATFORMS, "", "platforms", "is missing", '["linux/arm64"]'),
    Case("targets missing", TARGETS, "", "targets", "is missing", 'targets = ["pi5"]'),
    Case(
        "key of a table missing",
        '[image.debian]\nsuite = "bookworm"',
        "[image.debian] #@",
        "image.debian.suite",
        "is missing",
        'write suite = "bookworm"',
    ),
    Case("no drop", "golden]", "golden] #@", "model.golden.max_drop", "is missing", "0.5", NO_DROP),
    # name, version and other words
    Case("name upper", '"digits"', '"Digits" #@', "name", "lower-case", "such as"),
    Case("name long", '"digits"', f'"{A}" #@', "name", "at most 63", "such as"),
    Case("name hyphen", '"digits"', '"-digits" #@', "name", "beginning with a letter", "such as"),
    Case("name empty", '"digits"', '"" #@', "name", 'is ""', "such as"),
    Case("name newline", '"digits"', '"digits\\n" #@', "name", "lower-case", "such as"),
    Case("name is a number", '"digits"', "7 #@", "name", "must be a string, is 7", "such as"),
    Case("name is a date", '"digits"', "2026-01-31 #@", "name", "the date or time 2026", "such"),
    Case("version two", '"1.0.0"', '"1.0" #@', "version", "three numbers", "1.0.0"),
    Case("version plus", '"1.0.0"', '"1.0.0+3" #@', "version", "three numbers", "no `+`"),
    Case("version zero", '"1.0.0"', '"1.01.0" #@', "version", "three numbers", "1.0.0"),
    Case("version number", '"1.0.0"', "1.0 #@", "version", "must be a string, is 1.0", "1.0.0"),
    # platforms and targets
    Case("platform", PLATFORMS, 'platforms = ["linux/arm"] #@', "platforms[0]", "is", "arm64"),
    Case(
        "platform twice",
        PLATFORMS,
        'platforms = [\n"linux/arm64",\n"linux/amd64",\n"linux/arm64", #@\n]',
        "platforms[2]",
        'repeats "linux/arm64"',
        "once",
    ),
    Case("no platforms", PLATFORMS, "platforms = [] #@", "platforms", "is empty", "linux/arm64"),
    Case(
        "platforms string",
        PLATFORMS,
        'platforms = "linux/arm64" #@',
        "platforms",
        "array",
        "square",
    ),
    Case("target", '["pi5", "amd64"]', '["amd64", "pi-5"] #@', "targets[1]", "must be", 'an "pi5'),
    Case("target number", '["pi5", "amd64"]', '[5, "amd64"] #@', "targets[0]", "is 5", '"pi5"'),
    Case("target twice", '["pi5", "amd64"]', '["pi5", "pi5"] #@', "targets[1]", "repeats", "once"),
    Case("no targets", '["pi5", "amd64"]', "[] #@", "targets", "is empty", '"pi5"'),
    Case(
        "target without its platform",
        PLATFORMS + "\n" + TARGETS,
        'platforms = ["linux/arm64"]\ntargets = [\n"pi5",\n"amd64", #@\n]',
        "targets[1]",
        'target "amd64" runs linux/amd64, which is not among the platforms',
        'add "linux/amd64" to platforms, or remove "amd64"',
    ),
    *(
        Case(name, '"pi5"', f'"{name}" #@\n', "targets[0]", tool, 'name "pi5" instead')
        for name, tool in (
            ("pi5-hailo8", "needs the Hailo Dataflow Compiler 3.x"),
            ("pi5-hailo10h", "needs the Hailo Dataflow Compiler 5.x"),
            ("jetson-nano", "needs TensorRT 8 of JetPack 4.6"),
            ("coral", "needs the Edge TPU Compiler 16"),
        )
    ),
    # source_date_epoch, builder, description, licence: keys that the base recipe lacks
    *(
        Case(id_, "schema = 1", f"schema = 1\n{key} = {value} #@", key, message, remedy)
        for id_, key, value, message, remedy in (
            ("epoch below", "source_date_epoch", "-1", "from 0 to 4294967295, is -1", "1767225600"),
            ("epoch above", "source_date_epoch", "4294967296", "from 0 to 4294967295", "such as"),
            ("epoch float", "source_date_epoch", "1.5", "must be a whole number", "such as"),
            ("epoch huge", "source_date_epoch", "9" * 400, "is a huge number", "such as"),
            ("epoch date", "source_date_epoch", "2026-01-01", "a whole number", "such as"),
            ("builder word", "builder", '"nixpkgs"', "must be a flake reference", "github:"),
            ("builder here", "builder", '"path:/etc#x"', "must be a flake reference", "absolute"),
            ("builder space", "builder", '"github:a/b c"', "must be a flake reference", "github:"),
            ("description lines", "description", '"a\\nb"', "one line", "line breaks"),
            ("description empty", "description", '""', "1 to 200", "shorten"),
            ("source", "source", '"my desk"', "must be a URL", "https://"),
            ("secret source", "source", '"https://me:pw@a.org/x"', "without a password", "https"),
            ("licence words", "license", '"free as in beer"', "SPDX", "Apache-2.0"),
            ("licence array", "license", '["MIT"]', "must be a string, is an array", "Apache"),
        )
    ),
    # The table image
    *(
        Case(id_, f'{key} = "{old}"', f"{key} = {value} #@", f"image.{key}", message, remedy)
        for id_, key, old, value, message, remedy in (
            (
                "no dockerfile",
                "dockerfile",
                "app/Dockerfile",
                '"Dockerfile"',
                "no such file",
                "mak",
            ),
            ("dockerfile folder", "dockerfile", "app/Dockerfile", '"app"', "not a file", "name a"),
            (
                "dockerfile below file",
                "dockerfile",
                "app/Dockerfile",
                '"train.py/x"',
                "no such",
                "",
            ),
            ("dockerfile absolute", "dockerfile", "app/Dockerfile", '"/etc/x"', ABSOLUTE, "write"),
            ("dockerfile above", "dockerfile", "app/Dockerfile", '"app/../../x"', OUTSIDE, "copy"),
            ("dockerfile NUL", "dockerfile", "app/Dockerfile", '"a\\u0000b"', ABSOLUTE, "write"),
            ("dockerfile windows", "dockerfile", "app/Dockerfile", "'app\\D'", ABSOLUTE, "write"),
            ("dockerfile empty", "dockerfile", "app/Dockerfile", '""', ABSOLUTE, "write"),
            ("dockerfile number", "dockerfile", "app/Dockerfile", "1", "must be a string", "write"),
            ("long", "dockerfile", "app/Dockerfile", f'"{A * 5}"', "cannot be looked at", "corr"),
            ("no context", "context", "app", '"web"', 'no such folder: "web"', "make it"),
            (
                "context is a file",
                "context",
                "app",
                '"train.py"',
                "is not a folder",
                "name a folder",
            ),
            ("context above", "context", "app", '".."', OUTSIDE, "copy"),
        )
    ),
    *(
        Case(id_, "[image.debian]", f"prune = {value} #@\n[image.debian]", path, message, remedy)
        for id_, value, path, message, remedy in (
            ("prune slash", '["/usr/*"]', "image.prune[0]", "without a leading `/`", "usr/share"),
            ("prune above", '["a", "b/../c"]', "image.prune[1]", "without `..`", "usr/share"),
            ("prune twice", '["a", "a"]', "image.prune[1]", 'repeats "a"', "once"),
            ("prune string", '"a"', "image.prune", "must be an array", "square brackets"),
        )
    ),
    # The table image.debian
    Case("suite", '"bookworm"', '"bookwurm" #@', "image.debian.suite", "trixie", 'n "bookworm"?'),
    Case("no packages", PACKAGES, "packages = [] #@", "image.debian.packages", "is empty", "name"),
    *(
        Case(id_, PACKAGES, f"packages = [{value}] #@", f"image.debian.packages[{index}]", words, r)
        for id_, value, index, words, r in (
            ("package upper", '"Python"', 0, "name of a Debian package", "libgomp1"),
            ("package short", '"a"', 0, "name of a Debian package", "libgomp1"),
            ("package version", '"zlib1g", "a=1.0"', 1, "name of a Debian package", "the lock"),
            ("package arch", '"libc6:arm64"', 0, "name of a Debian package", "architecture"),
            ("package twice", '"ab", "ac", "ab"', 2, 'repeats "ab"', "once"),
        )
    ),
    Case(
        "package in and out",
        PACKAGES,
        PACKAGES + '\nexclude = ["dpkg", "python3.11-minimal"] #@',
        "image.debian.exclude[1]",
        "is also in packages",
        "one of the two",
    ),
    # The table image.python
    Case("python", 'version = "3.11"', 'version = "2.7" #@', "image.python.version", "3", "3.11"),
    Case("float", 'version = "3.11"', "version = 3.11 #@", "image.python.version", "string", "3."),
    Case(
        "python of another suite",
        'version = "3.11"',
        'version = "3.13" #@',
        "image.python.version",
        "Debian bookworm brings Python 3.11, not 3.13",
        'write "3.11"',
    ),
    *(
        Case(
            f"requirement {value}",
            REQUIREMENTS,
            f"requirements = ['numpy', '{value}'] #@",
            "image.python.requirements[1]",
            message,
            remedy,
        )
        for value, message, remedy in (
            ("-r more.txt", "a Python requirement", "options of pip"),
            ("--index-url=x", "a Python requirement", "options of pip"),
            ("./wheel.whl", "a Python requirement", "paths"),
            ("a @ https://a/b.whl", "a Python requirement", "URLs"),
            ("git+https://a/b", "a Python requirement", "URLs"),
            ("a==", "a Python requirement", "such as"),
            ("a~=1", "a Python requirement", "such as"),
            ("a=1", "a Python requirement", "such as"),
            (" a", "a Python requirement", "such as"),
            ("a; extra", "a Python requirement", "such as"),
            ("", "a Python requirement", "such as"),
            ("NumPy>=2", 'repeats "numpy"', "once"),
        )
    ),
    Case(
        "distribution in and out",
        REQUIREMENTS,
        REQUIREMENTS + '\nexclude = ["Onnx_Runtime", "ONNXRuntime"] #@',
        "image.python.exclude[1]",
        "is also in requirements",
        "one of the two",
    ),
    # The table model, and its source
    Case("task", '"image-classification"', '"Image" #@', "model.task", "lower-case", "such as"),
    Case("model missing", BASE[BASE.index("[model]") :], "", "model", "is missing", "[model]"),
    Case(
        "model is a number",
        BASE[BASE.index("[image]") :],
        "model = 3 #@\n" + BASE[BASE.index("[image]") : BASE.index("[model]")],
        "model",
        "must be a table, is 3",
        "write [model]",
    ),
    Case(
        "no source",
        TRAIN,
        "",
        "model",
        "has no source: one of [model.train], [model.file], [model.artifact]",
        "write one of them",
        MARK_MODEL + NO_SCRIPT,
    ),
    Case(
        "two sources",
        TRAIN,
        f'{TRAIN}[model.artifact] #@\nstore = "../s"\ndigest = "sha256:{A}"\n',
        "model.artifact",
        "a second source of the model, beside [model.train]",
        "keep one",
    ),
    Case(
        "data of no script",
        TRAIN,
        f'[model.file]\npath = "model.onnx"\nsha256 = "{HASH}"\n',
        "model.golden.data",
        '"train:golden.npz" is written by a training script, and there is none',
        "name a file beside the recipe",
        (('"train:golden.npz"', '"train:golden.npz" #@'), ("train:calibration", "calibration")),
    ),
    model_file(
        "wrong hash",
        f'[model.file]\npath = "model.onnx"\nsha256 = "{A}" #@\n',
        "model.file.sha256",
        f'"model.onnx" has the hash {HASH}, and not {A}',
        "bring back the right file",
    ),
    model_file(
        "no model",
        f'[model.file]\npath = "model.onn" #@\nsha256 = "{A}"\n',
        "model.file.path",
        'no such file: "model.onn"',
        "make it",
    ),
    model_file(
        "hash with its algorithm",
        f'[model.file]\npath = "model.onnx"\nsha256 = "sha256:{HASH}" #@\n',
        "model.file.sha256",
        "must be 64 lower-case hexadecimal digits",
        "sha256sum",
    ),
    model_file(
        "upper-case hash",
        f'[model.file]\npath = "model.onnx"\nsha256 = "{HASH.upper()}" #@\n',
        "model.file.sha256",
        "must be 64 lower-case hexadecimal digits",
        "sha256sum",
    ),
    model_file(
        "no hash",
        '[model.file] #@\npath = "model.onnx"\n',
        "model.file.sha256",
        "is missing: SHA-256 of the file",
        "write sha256 =",
    ),
    model_file(
        "digest without its algorithm",
        f'[model.artifact]\nstore = "../store"\ndigest = "{A}" #@\n',
        "model.artifact.digest",
        "must be a digest",
        "`show`",
    ),
    model_file(
        "absolute store",
        f'[model.artifact]\nstore = "/store" #@\ndigest = "sha256:{A}"\n',
        "model.artifact.store",
        ABSOLUTE,
        '"../store"',
    ),
    Case(
        "input twice",
        '"data/labels.csv"',
        '"train.py", "./train.py" #@\n',
        "model.train.inputs[1]",
        'repeats "train.py"',
        "once",
    ),
    Case(
        "calibration missing",
        CALIBRATION,
        "",
        "model.calibration",
        'is missing: quantization "static-int8" finds its ranges with it',
        "[model.calibration]",
        MARK_MODEL,
    ),
    Case(
        "golden missing",
        BASE[BASE.index("[model.golden]") :],
        "",
        "model.golden",
        "is missing: inputs and labels",
        "write a table [model.golden]",
        MARK_MODEL,
    ),
    Case("script absent", '"train.py"', '"trian.py" #@', "model.train.script", "no such", "make"),
    Case(
        "input absent",
        '"data/labels.csv"',
        '"train.py",\n"data/none.csv", #@\n',
        "model.train.inputs[1]",
        'no such file: "data/none.csv"',
        "make it",
    ),
    Case("seed", "[model.train]", "[model.train]\nseed = -1 #@", "model.train.seed", "from 0", "1"),
    # The table model.prepare
    *(
        Case(
            f"{key} = {value}",
            QUANTIZATION,
            f"{QUANTIZATION}\n{key} = {value} #@",
            f"model.prepare.{key}",
            message,
            remedy,
        )
        for key, value, message, remedy in (
            ("fusion", '"all"', "depends on the CPU", 'write "extended" or "basic"'),
            ("fusion", '"extend"', 'must be "none", "basic" or "extended"', 'mean "extended"?'),
            ("fusion", "true", "is true", 'write "basic"'),
            ("block_size", "33", "must be 16, 32, 64, 128 or 256, is 33", "write 32"),
            ("block_size", "32.0", "must be 16", "write 32"),
            ("block_size", '"32"', "must be 16", "write 32"),
            ("per_channel", '"true"', "must be true or false", "without quotes"),
            ("per_channel", "1", "must be true or false", ""),
        )
    ),
    Case(
        "quantization",
        QUANTIZATION,
        'quantization = "int8" #@',
        "model.prepare.quantization",
        'must be "none", "dynamic-int8", "static-int8" or "int4-weights"',
        "-int8",
    ),
    # The table model.calibration
    Case(
        "calibration without static",
        QUANTIZATION + "\n\n[model.calibration]",
        'quantization = "none"\n\n[model.calibration] #@',
        "model.calibration",
        'has no use with quantization "none"',
        "remove the table",
    ),
    *(
        Case(
            f"calibration {key} = {value}",
            'data = "train:calibration.npz"',
            f'data = "calibration.npz"\n{key} = {value} #@',
            f"model.calibration.{key}",
            message,
            remedy,
        )
        for key, value, message, remedy in (
            ("method", '"entropy"', 'must be "minmax" or "percentile"', 'write "minmax"'),
            ("percentile", "99.0", 'has no use with method "minmax"', 'method = "percentile"'),
            ("samples", "0", "from 1 to", "200"),
            ("samples", "1.0", "a whole number", "200"),
        )
    ),
    *(
        Case(
            f"percentile {value}",
            'data = "train:calibration.npz"',
            f'data = "calibration.npz"\nmethod = "percentile"\npercentile = {value} #@',
            "model.calibration.percentile",
            "must be a number",
            "99.99",
        )
        for value in ("101", "nan", "inf", "-1", '"99"', "true", "9" * 400)
    ),
    # [model.golden] and data files
    *(
        Case(f"data {value}", GOLDEN, f"data = {value} #@", "model.golden.data", message, remedy)
        for value, message, remedy in (
            ('"none.npz"', 'no such file: "none.npz"', "make it"),
            ('"train.py"', "must end in .npz", "such as"),
            ('"train:../x.npz"', OUTSIDE, "copy"),
            ('"train:/x.npz"', ABSOLUTE, "such as"),
            ('"train:"', ABSOLUTE, "such as"),
            ('"../x.npz"', OUTSIDE, "copy"),
        )
    ),
    Case("drop", "0.5", "-0.5 #@", "model.golden.max_drop", "from 0 to 100, is -0.5", "0.5"),
]


def text_of(case: Case) -> str:
    text = BASE
    for old, new in ((case.old, case.new), *case.more):
        assert text.count(old) >= 1, f"the base recipe has no {old!r}"
        text = text.replace(old, new, 1)
    return text


def line_of(text: str) -> int:
    marked = [number for number, line in enumerate(text.split("\n"), 1) if "#@" in line]
    return marked[0] if marked else 0


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_one_mistake(case: Case, tmp_path: Path) -> None:
    text = text_of(case)
    with pytest.raises(RecipeError) as caught:
        load(Project(tmp_path).recipe(text))
    [problem] = caught.value.problems
    assert problem.path == case.path
    assert problem.line == line_of(text)
    assert case.message in problem.message
    assert case.remedy in problem.remedy


def test_each_case_is_one_of_a_kind() -> None:
    ids = [case.id for case in CASES]
    assert len(set(ids)) == len(ids)
