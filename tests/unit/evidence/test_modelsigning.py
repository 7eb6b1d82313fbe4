"""OpenSSF Model Signing: its own library is the judge."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from buildkit import digests
from buildkit.errors import EvidenceError, InputError
from buildkit.evidence import modelsigning, signers
from buildkit.evidence.keys import PublicKey, change, private
from buildkit.evidence.reasons import Reason
from buildkit.evidence.signers import KeySigner
from buildkit.run import run

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "model.onnx": b"weights",
    "model.json": b"{}",
    "a/b": b"1",
    "a-b": b"2",
    "a.b/c": b"3",
    "a/B": b"4",
}


def write(folder: Path) -> dict[str, str]:
    found = {}
    for path, data in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        found[path] = digests.of_bytes(data)
    return found


def signed(tmp_path: Path) -> tuple[Path, PublicKey]:
    """A model's folder with its ``model.sig``; the key."""
    folder = tmp_path / "digits"
    said = modelsigning.statement("digits", write(folder))
    key = change.make(tmp_path / "keys", epoch=1)
    settings = signers.Settings(
        keys=tmp_path / "keys", epoch=1, runner=run, passphrase=lambda _: None
    )
    signer = signers.signer("key", settings)
    assert signer is not None
    data = modelsigning.signature(signer.bundle(said.payload()), key)
    (folder / modelsigning.FILE).write_bytes(data)
    (tmp_path / "our.pub").write_bytes(key.pem)
    return folder, key


def judge(folder: Path, pub: Path) -> bool:
    program = (
        "import sys, pathlib\n"
        "from model_signing import verifying\n"
        "folder, pub = map(pathlib.Path, sys.argv[1:])\n"
        "config = verifying.Config().use_elliptic_key_verifier(public_key=pub)\n"
        "try: config.verify(folder, folder / 'model.sig')\n"
        "except Exception as error: sys.exit(f'refused: {error!r}')\n"
        "print('accepted')\n"
    )
    done = run([sys.executable, "-c", program, folder, pub], check=False)
    assert "WARNING" not in done.text
    assert done.text.startswith("accepted") or "refused" in done.stderr, done.stderr
    return done.code == 0


def test_its_library_accepts_and_refuses(tmp_path: Path) -> None:
    folder, _ = signed(tmp_path)
    pub = tmp_path / "our.pub"
    assert judge(folder, pub)
    (folder / "model.onnx").write_bytes(b"other weights")
    assert not judge(folder, pub)
    (folder / "model.onnx").write_bytes(FILES["model.onnx"])
    (folder / "more").write_bytes(b"")
    assert not judge(folder, pub)
    (folder / "more").unlink()
    pub.write_bytes(private.generate("ecdsa-p256", "x", created=0).public.pem)
    assert not judge(folder, pub)


def test_another_key_is_not_written_into_it(tmp_path: Path) -> None:
    folder, key = signed(tmp_path)
    data = (folder / modelsigning.FILE).read_bytes()
    assert modelsigning.signature(data, key) == data
    with pytest.raises(EvidenceError) as refused:
        modelsigning.signature(data, private.generate("ecdsa-p256", "x", created=0).public)
    assert refused.value.reason == Reason.SIGNATURE


def test_what_cannot_be_signed_for_it() -> None:
    secret = private.generate("ed25519", "x", created=0)
    said = modelsigning.statement("m", {"model.onnx": digests.of_bytes(b"")})
    with pytest.raises(InputError, match="knows no ed25519"):
        modelsigning.signature(KeySigner(key=secret).bundle(said.payload()), secret.public)
    with pytest.raises(InputError, match="no files"):
        modelsigning.statement("m", {})
    with pytest.raises(InputError, match="sign itself"):
        modelsigning.statement("m", {modelsigning.FILE: digests.of_bytes(b"")})
