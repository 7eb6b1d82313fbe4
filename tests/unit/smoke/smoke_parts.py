"""What the tests of the smoke test are made of: tiny models, golden data, fake boards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[3]
INPUTS, CLASSES, SAMPLES = 16, 4, 40

Array = npt.NDArray[Any]


def weights() -> Array:
    return np.random.default_rng(7).standard_normal((INPUTS, CLASSES)).astype(np.float32)


def write_model(path: Path, *, batch: int | str = "N", opset: int = 17) -> Path:
    """Scores of a linear classifier: MatMul, Add."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["pixels", "weights"], ["product"]),
            helper.make_node("Sigmoid", ["product"], ["scores"]),
        ],
        "linear",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, INPUTS])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(weights(), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


def write_golden(path: Path, *, shift: int = 0, **changes: Array) -> Path:
    """Inputs and right labels; `shift` makes every label wrong."""
    pixels = np.random.default_rng(11).standard_normal((SAMPLES, INPUTS)).astype(np.float32)
    labels = ((pixels @ weights()).argmax(axis=1) + shift) % CLASSES
    arrays: dict[str, Any] = {"pixels": pixels, "label": labels.astype(np.int64), **changes}
    np.savez(path, **arrays)
    return path


def command(folder: Path, *more: str, profile: str = "quick") -> list[str]:
    """The command line for ``model.onnx`` and ``golden.npz`` in `folder`."""
    return [
        *(sys.executable, "-m", "smoke", "--profile", profile, "--threads", "1"),
        *("--model", str(folder / "model.onnx"), "--golden", str(folder / "golden.npz")),
        *("--out", str(folder / "report.json"), *more),
    ]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "device-smoke")}


def smoke(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *more),
        env=environment(),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def put(root: Path, name: str, content: str | bytes) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())


def put_tool(root: Path, name: str, script: str) -> None:
    put(root, f"usr/bin/{name}", f"#!/bin/sh\n{script}\n")
    (root / "usr/bin" / name).chmod(0o755)


CPUINFO = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1

processor\t: 1
CPU part\t: 0xd05

Revision\t: c04170
Serial\t\t: 0123456789abcdef
Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""

VCGENCMD = """\
case "$1" in
  get_throttled) echo 'throttled=0x50000';;
  measure_temp) echo "temp=48.3'C";;
  measure_clock) echo 'frequency(0)=2400000000';;
  version) printf '2025/05/08 15:13:17\\nCopyright (c)\\nversion 69471177 (release)\\n';;
  bootloader_version) echo '2025/05/08 15:13:17';;
  *) exit 1;;
esac"""

IDENTITY = """\
Executing on device: 0001:01:00.0
Identifying board
Control Protocol Version: 2
Firmware Version: 5.1.1 (release,app)
Board Name: Hailo-10H
Device Architecture: HAILO10H
Serial Number: HLDDLBB0000000000
"""


def pi(root: Path) -> Path:
    """A Raspberry Pi 5 with an AI HAT+ 2, as its files say it."""
    put(root, "proc/cpuinfo", CPUINFO)
    put(root, "proc/meminfo", "MemTotal:  8256000 kB\nMemAvailable: 7000000 kB\nSwapTotal: 0 kB\n")
    put(root, "proc/uptime", "123.45 400.00\n")
    put(root, "proc/sys/kernel/osrelease", "6.12.25+rpt-rpi-2712\n")
    put(root, "proc/device-tree/model", b"Raspberry Pi 5 Model B Rev 1.0\0")
    put(root, "proc/device-tree/system/linux,revision", bytes.fromhex("00c04170"))
    put(root, "etc/os-release", 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')
    for core in range(4):
        folder = f"sys/devices/system/cpu/cpu{core}/cpufreq"
        put(root, f"{folder}/scaling_governor", "performance\n")
        put(root, f"{folder}/scaling_cur_freq", f"{2400000 - core}\n")
        put(root, f"{folder}/cpuinfo_max_freq", "2400000\n")
    put(root, "sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    put(root, "sys/class/thermal/thermal_zone0/temp", "48300\n")
    put(root, "sys/class/thermal/cooling_device0/type", "pwm-fan\n")
    put(root, "sys/class/thermal/cooling_device0/cur_state", "1\n")
    put(root, "sys/class/thermal/cooling_device0/max_state", "4\n")
    put(root, "sys/class/hwmon/hwmon2/name", "pwmfan\n")
    put(root, "sys/class/hwmon/hwmon2/fan1_input", "0\n")
    put(root, "sys/class/hwmon/hwmon2/pwm1", "75\n")
    card = "sys/bus/pci/devices/0001:01:00.0"
    put(root, f"{card}/vendor", "0x1e60\n")
    put(root, f"{card}/device", "0x45c4\n")
    put(root, f"{card}/class", "0x120000\n")
    put(root, f"{card}/current_link_speed", "8.0 GT/s PCIe\n")
    put(root, f"{card}/current_link_width", "1\n")
    (root / card / "driver").symlink_to("../../../../bus/pci/drivers/hailo1x_pci")
    put(root, "sys/bus/pci/devices/0002:01:00.0/vendor", "0x1de4\n")
    put(root, "sys/bus/pci/devices/0002:01:00.0/class", "0x020000\n")
    put(root, "sys/module/hailo1x_pci/version", "5.1.1\n")
    put(root, "dev/hailo0", "")
    put_tool(root, "vcgencmd", VCGENCMD)
    put_tool(
        root,
        "hailortcli",
        f'[ "$1" = --version ] && echo "HailoRT-CLI version 5.1.1" || cat <<END\n{IDENTITY}END',
    )
    return root
