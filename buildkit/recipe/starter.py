"""The first recipe of a new project: every key, explained where it stands.

It goes with the files of ``recipes/digits`` (``app/``, ``train.py``, ``exact.py``) and builds as
it is.
"""

from __future__ import annotations

from buildkit.errors import InputError
from buildkit.recipe import forms

_TEXT = """\
# What to build. `python -m buildkit build` makes a runtime image and a quantised model from this
# file; `recipe.lock`, beside it, says which bytes every name here stands for. Commit both.
# All paths are relative to this folder. Every key is explained in docs/recipe.md.

schema = 1 # the form of this file
name = "@NAME@"
version = "0.1.0" # raise it with every release; it becomes a tag
description = "Reads handwritten digits"
license = "Apache-2.0" # SPDX expression of the app
# source = "https://example.org/digits" # where people find the source code

# The image is built for each platform, the model prepared for each target.
platforms = ["linux/arm64", "linux/amd64"]
targets = ["pi5", "amd64"] # Raspberry Pi 5 (its CPU), 64-bit PC

# Every timestamp in the artifacts: 2026-01-01 00:00 UTC, in seconds since 1970. Fixed, so that
# the digests depend on content alone. Without this line it is the time of the last commit, and
# every commit gives new digests.
source_date_epoch = 1767225600

# The builder's environment from another flake (docs/nix.md), instead of the one that comes along:
# builder = "github:acme/env#builder" # or a folder beside this file: "path:./env#builder"

# The runtime image: a Debian layer, a layer of Python wheels, and the app's layers on top. A
# layer that did not change keeps its digest, and no device pulls it again.
[image]
dockerfile = "app/Dockerfile" # the app's layers; last stage FROM scratch
context = "app" # the folder that the Dockerfile sees
# Files left out of the Debian and Python layers. `*` matches any characters, `/` too.
prune = [
    "usr/share/doc/*/changelog*",
    "usr/share/man/*",
    "usr/lib/python3.11/test/*",
    "*/numpy/tests/*",
    "*/numpy/*/tests/*",
    # A second copy of the engine, for programs in C.
    "*/onnxruntime/capi/libonnxruntime.so.*",
    # Tools that make models, and never run one.
    "*/onnxruntime/tools/*",
    "*/onnxruntime/transformers/*",
]

[image.debian]
suite = "bookworm" # its security updates come with it
packages = ["python3.11-minimal", "libpython3.11-stdlib", "libstdc++6"]
exclude = ["media-types"] # left out although something depends on it

[image.python]
version = "3.11" # the Python of the suite
requirements = ["numpy==2.4.6", "onnxruntime==1.31.1"] # wheels only; the lock adds their hashes
exclude = ["flatbuffers", "packaging", "protobuf"] # required by ONNX Runtime, unused at run time

[model]
task = "image-classification"
license = "Apache-2.0"

# Where the float model comes from: a script that runs in the sandbox, without a network, and
# writes model.onnx into the folder OUT. Instead, exactly one of:
#   [model.file]      path = "model.onnx", sha256 = "<what sha256sum prints>"
#   [model.artifact]  store = "../store", digest = "sha256:<the model's manifest>"
[model.train]
script = "train.py"
inputs = ["exact.py"] # further files that it reads
requirements = ["scikit-learn==1.9.1"] # besides numpy, onnx and onnxruntime, which are there
seed = 1 # SEED in its environment

# What happens to the float model. These are the defaults.
[model.prepare]
shape_inference = true
fusion = "basic" # none, basic, extended
quantization = "static-int8" # none, dynamic-int8, static-int8, int4-weights
per_channel = true # a scale for each output channel
reduce_range = true # 7-bit weights: the same answers on every CPU
# block_size = 32 # for int4-weights: values that share a scale

# Samples that static-int8 finds its ranges with: a .npz with one array for each model input.
# train:NAME is a file that the training script wrote.
[model.calibration]
data = "train:calibration.npz"
method = "minmax" # or "percentile", with percentile = 99.99
# samples = 200 # only the first so many

# Labelled samples that the quantised model must still get right, or nothing is published.
[model.golden]
data = "train:golden.npz"
max_drop = 0.5 # of top-1 accuracy, in percentage points

# What a person should know before using the model; goes into its model card.
# [model.considerations]
# users = ["shop staff at a till"]
# use_cases = ["reading digits on a form"]
# limitations = ["only tried on dark ink"]
# tradeoffs = ["int8: a quarter of the size, less exact"]
# ethical = ["a wrong reading goes unnoticed: low scores are shown to a person"]

# When the test on a device passes (docs/gate.md). Limits change neither image nor model, so a new
# one needs no new lock. What is not said here is the target's.
[smoke]
min_accuracy = 95 # percent of the golden inputs
# max_accuracy_change = 0.5 # percentage points fewer than at the build
# profile = "smoke" # or "quick", or "release" for what ships
# max_load_ms = 500 # cold load
# max_first_ms = 50 # first inference
# max_p50_ms = 8 # warm latency; a stand-in's times are shown and not judged
# max_p95_ms = 10 # its upper 99 % confidence bound
# max_p99_ms = 15
# min_throughput = 100 # inferences a second
# max_memory_mib = 200 # peak of the process
# max_slower = 5 # percent above the baseline
# max_larger = 10 # percent of memory above the baseline
# min_samples = 90 # timed inferences
# max_temperature_c = 80
# page_bytes = 16384
# governor = "performance"
# attempts = 3 # until one is not inconclusive
# deadline_s = 900
# memory_limit_mib = 1024 # of the container
# threads = 0 # of one operator; 0: ONNX Runtime chooses
# providers = ["CPUExecutionProvider"]
# min_on_accelerator = 90 # percent of the nodes; needs one in providers

# What is otherwise on one target.
# [smoke.targets.pi5]
# [smoke.targets.amd64]
"""


def template(name: str) -> str:
    """The text of a first recipe.

    Args:
        name: of the recipe.

    Raises:
        InputError: a recipe cannot have this name.
    """
    if not forms.NAME.fits(name):
        msg = f"the name must be {forms.NAME.words}, is {name!r}"
        raise InputError(msg, forms.NAME.remedy)
    return _TEXT.replace("@NAME@", name)
