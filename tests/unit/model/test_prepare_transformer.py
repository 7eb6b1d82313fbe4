"""A transformer encoder of two layers goes the exact way, from the exported graph to int8."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from make_encoder import encoder, sentences

from buildkit.model.prepare import quantise
from buildkit.model.prepare.calibrate import _runtime_pass, calibrate
from buildkit.model.prepare.data import open_samples
from buildkit.model.prepare.optimise import optimise
from buildkit.model.prepare.ranges import find
from buildkit.model.prepare.session import open_session
from buildkit.model.prepare.settings import Calibration, Settings
from buildkit.model.prepare.signature import of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("how", [None, Calibration(method="percentile", percentile=99.9)])
@pytest.mark.parametrize("fusion", ["none", "basic", "extended"])
def test_ranges_are_exact_and_close_to_onnx_runtimes(
    tmp_path: Path, fusion: str, how: Calibration | None
) -> None:
    made = optimise(encoder(3), dataclasses.replace(Settings(), fusion=fusion))
    np.savez(tmp_path / "d.npz", **sentences(4, 24))  # type: ignore[arg-type]
    found = calibrate(made, tmp_path / "d.npz", how)
    assert found["way"] == "exact", found["reason"]
    samples = open_samples(tmp_path / "d.npz", of(made))
    theirs = find(_runtime_pass(made, samples, 24), how)
    assert theirs.keys() <= found["ranges"].keys()
    assert len(theirs) > 50
    for tensor, ends in theirs.items():
        width = max(ends[1] - ends[0], 1e-3)
        assert found["ranges"][tensor] == pytest.approx(ends, abs=1e-5 * width), tensor


@pytest.mark.parametrize("fusion", ["basic", "extended"])
def test_every_product_with_weights_becomes_int8(tmp_path: Path, fusion: str) -> None:
    plain = encoder(3)
    settings = dataclasses.replace(Settings(), fusion=fusion)
    made = optimise(plain, settings)
    # Without hidden words: int8 has no room for a mask of -10000 beside scores of some units.
    calibration, feed = (
        {**data, "mask": np.ones_like(data["mask"])}
        for data in (sentences(4, 24), sentences(5, 200))
    )
    np.savez(tmp_path / "d.npz", **calibration)  # type: ignore[arg-type]
    found = calibrate(made, tmp_path / "d.npz", None)
    content, report = quantise.quantise(made, settings, quantise.read_ranges(found))
    nodes = report["quantized_nodes"]
    # Six in each layer, and the two products of attention.
    assert (nodes["MatMul"], nodes["Gemm"]) == (16, 2)
    small = onnx.load_from_string(content)
    one, two = (
        open_session(m.SerializeToString()).run(None, feed)[0].argmax(1) for m in (plain, small)
    )
    assert (one == two).mean() > 0.9
