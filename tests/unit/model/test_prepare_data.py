"""Data files and settings: every refusal names what is wrong."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from prepare_graphs import cnn, encoder, floats, model

from buildkit.model.prepare import data, settings, signature
from buildkit.model.prepare.errors import BadInputError

if TYPE_CHECKING:
    from pathlib import Path

SIGNATURE = signature.of(cnn())


def npz(tmp_path: Path, **arrays: Any) -> Path:
    np.savez(tmp_path / "data.npz", **arrays)
    return tmp_path / "data.npz"


def test_samples_come_in_order_and_whatever_the_batch(tmp_path: Path) -> None:
    x = floats(1, 7, 2, 8, 8)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "data.npz", x=x, label=np.arange(7))
        samples = data.open_samples(tmp_path / "data.npz", SIGNATURE, labelled=True)
        assert samples.count == 7
        for size in (1, 3, 7, 100):
            batches = [feed["x"] for feed in samples.batches(size)]
            assert [len(b) for b in batches][:-1] == [size] * (len(batches) - 1)
            assert (np.concatenate(batches) == x).all()
        assert data.labels(samples).tolist() == list(range(7))


def test_a_limit_takes_the_first_samples(tmp_path: Path) -> None:
    x = floats(1, 7, 2, 8, 8)
    samples = data.open_samples(npz(tmp_path, x=x), SIGNATURE, limit=3)
    assert (np.concatenate([f["x"] for f in samples.batches(2)]) == x[:3]).all()


def test_big_endian_values_are_read_as_values(tmp_path: Path) -> None:
    x = floats(1, 2, 2, 8, 8)
    samples = data.open_samples(npz(tmp_path, x=x.astype(">f4")), SIGNATURE)
    (feed,) = samples.batches(2)
    assert feed["x"].dtype == np.float32
    assert (feed["x"] == x).all()


GOOD = floats(1, 4, 2, 8, 8)
BAD: list[tuple[dict[str, Any], str]] = [
    ({"z": GOOD}, "array 'x' is missing"),
    ({"x": GOOD, "z": GOOD}, "array 'z' is not an input"),
    ({"x": GOOD.astype(np.float64)}, "array 'x' is float64 .* takes float32"),
    ({"x": GOOD[0]}, r"array 'x' is float32 of shape \(2, 8, 8\)"),
    ({"x": GOOD[:, :1]}, r"shape \(4, 1, 8, 8\), the model takes float32 of shape \(N, 2, 8, 8\)"),
    ({"x": GOOD[:0]}, "there is no sample"),
    ({"x": np.array(["a"])}, "array 'x' is"),
    ({"x": np.array([{}])}, "Python objects"),
    ({"x": np.asfortranarray(GOOD)}, "column by column"),
]


@pytest.mark.parametrize(("arrays", "message"), BAD, ids=[m for _, m in BAD])
def test_arrays_that_do_not_fit_are_named(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        data.open_samples(npz(tmp_path, **arrays), SIGNATURE)
    assert caught.value.remedy


BAD_LABELS: list[tuple[dict[str, Any], str]] = [
    ({}, "array 'label' is missing"),
    ({"label": np.arange(4, dtype=np.int32)}, "array 'label' is int32"),
    ({"label": np.zeros((4, 1), np.int64)}, "array 'label' is int64 of shape"),
    ({"label": np.arange(3)}, "array 'label' has 3 samples, others 4"),
]


@pytest.mark.parametrize(("arrays", "message"), BAD_LABELS, ids=[m for _, m in BAD_LABELS])
def test_labels_that_do_not_fit_are_named(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInputError, match=message):
        data.open_samples(npz(tmp_path, x=GOOD, **arrays), SIGNATURE, labelled=True)


def test_a_negative_label_is_refused(tmp_path: Path) -> None:
    path = npz(tmp_path, x=GOOD, label=np.array([0, 1, -1, 0]))
    with pytest.raises(BadInputError, match="'label' holds -1"):
        data.labels(data.open_samples(path, SIGNATURE, labelled=True))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, bad: float) -> None:
    x = GOOD.copy()
    x[2, 0, 0, 0] = bad
    samples = data.open_samples(npz(tmp_path, x=x), SIGNATURE)
    with pytest.raises(BadInputError, match="'x' holds values that are not finite"):
        list(samples.batches(2))


def test_more_samples_than_there_are_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="5 samples are asked for, it holds 4"):
        data.open_samples(npz(tmp_path, x=GOOD), SIGNATURE, limit=5)


def test_sizes_with_one_name_must_agree(tmp_path: Path) -> None:
    made = model([], {"a": ["N", "S"], "b": ["N", "S"]}, {}, {})
    path = npz(tmp_path, a=floats(1, 2, 5), b=floats(2, 2, 6))
    with pytest.raises(BadInputError, match="array 'b'"):
        data.open_samples(path, signature.of(made))


def test_a_fixed_batch_is_kept(tmp_path: Path) -> None:
    fixed = signature.of(cnn(batch=2))
    assert data.open_samples(npz(tmp_path, x=GOOD), fixed).batch_size() == 2
    with pytest.raises(BadInputError, match="3 samples are no multiple of 2"):
        data.open_samples(npz(tmp_path, x=GOOD[:3]), fixed)


def test_inputs_of_whole_numbers_are_read(tmp_path: Path) -> None:
    ids = np.arange(12).reshape(3, 4)
    (feed,) = data.open_samples(npz(tmp_path, ids=ids), signature.of(encoder())).batches(3)
    assert (feed["ids"] == ids).all()


def test_files_that_are_no_npz_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with pytest.raises(BadInputError, match=r"data\.npz cannot be read"):
        data.open_samples(path, SIGNATURE)
    path.write_bytes(b"no zip")
    with pytest.raises(BadInputError, match=r"not a usable \.npz"):
        data.open_samples(path, SIGNATURE)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.txt", "hello")
    with pytest.raises(BadInputError, match=r"'x\.txt' is not an array"):
        data.open_samples(path, SIGNATURE)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", b"hello")
    with pytest.raises(BadInputError, match=r"not a usable \.npz"):
        data.open_samples(path, SIGNATURE)


def test_an_array_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    whole = npz(tmp_path, x=GOOD)
    with zipfile.ZipFile(whole) as file:
        content = file.read("x.npy")
    cut = tmp_path / "cut.npz"
    with zipfile.ZipFile(cut, "w") as file:
        file.writestr("x.npy", content[:-4])
    with pytest.raises(BadInputError, match="'x' is cut off"):
        list(data.open_samples(cut, SIGNATURE).batches(4))


def test_settings_have_defaults_and_come_back() -> None:
    assert settings.parse({}) == settings.Settings()
    full = settings.Settings(
        fusion="none",
        quantization="int4-weights",
        block_size=64,
        calibration=settings.Calibration(method="percentile", percentile=99.5, samples=3),
    )
    assert settings.parse(full.to_json()) == full


def test_a_percentile_may_be_text() -> None:
    read = settings.parse({"calibration": {"percentile": "99.99999", "data": "c.npz"}})
    assert read.calibration is not None
    assert read.calibration.percentile == 99.99999


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"fuse": 1}, "fuse: unknown key"),
        ({"calibration": {"x": 1}}, r"calibration\.x: unknown key"),
        ({"calibration": []}, "calibration: not an object"),
        ({"fusion": "all"}, "fusion: 'all' is not allowed"),
        ({"quantization": "int8"}, "quantization: 'int8' is not allowed"),
        ({"per_channel": 1}, "per_channel: 1 is not true or false"),
        ({"block_size": 33}, "block_size: 33 is not allowed"),
        ({"block_size": True}, "block_size: True is not allowed"),
        ({"calibration": {"method": "entropy"}}, "method: 'entropy' is not allowed"),
        ({"calibration": {"percentile": 50}}, "percentile: 50 is not above 50"),
        ({"calibration": {"percentile": "much"}}, "percentile: 'much'"),
        ({"calibration": {"percentile": True}}, "percentile: True"),
        ({"calibration": {"percentile": "nan"}}, "percentile: 'nan'"),
        ({"calibration": {"samples": 0}}, "samples: 0 is not a whole number above 0"),
        ({"calibration": {"samples": 1.5}}, r"samples: 1\.5 is not"),
    ],
)
def test_settings_that_are_not_allowed_are_refused(document: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        settings.parse(document)
