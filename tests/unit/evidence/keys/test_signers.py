"""From the words after --signer to a signature."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from buildkit.errors import DeadlineError, InputError, SignerError, ToolError
from buildkit.evidence import bundle, signers
from buildkit.evidence.keys import KeyRing, PublicKey, change, private
from buildkit.evidence.signers import KeySigner, ProgramSigner, Settings
from buildkit.evidence.statement import Statement, Subject
from buildkit.run import Result, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PAYLOAD = Statement(
    subjects=(Subject(name="x", digest=f"sha256:{'0' * 64}"),),
    predicate_type="https://example.org/x",
    predicate={"a": 1},
).payload()


class Program:
    """A program that signs, in memory."""

    def __init__(self, algorithm: str = "ecdsa-p256") -> None:
        self.key = private.generate(algorithm, "token", created=0)
        self.public = self.key.public.pem
        self.fails: ToolError | None = None
        self.signs_with = self.key
        self.calls: list[list[str]] = []

    def __call__(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        deadline: float | None = None,
        check: bool = True,
    ) -> Result:
        assert deadline is not None
        assert check
        assert (cwd, env) == (None, None)
        words = [str(word) for word in argv]
        self.calls.append(words)
        if self.fails:
            raise self.fails
        answer = self.public if stdin is None else self.signs_with.sign(stdin)
        return Result(argv=tuple(words), code=0, stdout=answer, stderr="")


def at(
    tmp_path: Path, program: Program | None = None, word: bytes | None = None
) -> tuple[Settings, list[str]]:
    said: list[str] = []

    def passphrase(_: PublicKey | None) -> bytes | None:
        return word

    settings = Settings(
        keys=tmp_path / "keys",
        epoch=1,
        runner=program or run,
        passphrase=passphrase,
        note=said.append,
    )
    return settings, said


def test_none_is_nobody(tmp_path: Path) -> None:
    assert signers.signer("none", at(tmp_path)[0]) is None
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    "spec", ["", "keys", "key:", "exec:", "exec", "none:x", "keyless:x", "KEY"]
)
def test_what_is_no_signer(tmp_path: Path, spec: str) -> None:
    with pytest.raises(InputError, match="is no signer") as refused:
        signers.signer(spec, at(tmp_path)[0])
    for known in signers.SPECS:
        assert known in refused.value.remedy


def test_the_first_use_makes_a_key_and_says_so(tmp_path: Path) -> None:
    settings, said = at(tmp_path)
    signer = signers.signer("key", settings)
    (key,) = KeyRing.load(settings.keys).keys
    assert signer is not None
    assert signer.name == f"key {key.id}"
    assert len(said) == 1
    assert key.id in said[0]
    assert "not encrypted" in said[0]
    again = signers.signer("key", settings)
    assert again is not None
    assert again.name == signer.name
    assert len(said) == 1
    assert again.bundle(PAYLOAD) == signer.bundle(PAYLOAD)
    read = bundle.parse(signer.bundle(PAYLOAD), "it")
    assert read.key_hint == key.hint
    key.verify(read.envelope.signature, read.envelope.signed())


def test_the_first_key_takes_the_passphrase_that_is_set(tmp_path: Path) -> None:
    settings, said = at(tmp_path, word=b"word")
    signers.signer("key", settings)
    (key,) = KeyRing.load(settings.keys).keys
    assert private.is_encrypted(change.private_file(settings.keys, key))
    assert "encrypted with your passphrase" in said[0]
    with pytest.raises(SignerError, match="no passphrase"):
        signers.signer("key", at(tmp_path)[0])


def test_a_key_by_name_or_id(tmp_path: Path) -> None:
    settings, _ = at(tmp_path)
    key = change.make(settings.keys, epoch=1, name="release", algorithm="ed25519")
    for spec in ("key:release", f"key:{key.id}"):
        signer = signers.signer(spec, settings)
        assert isinstance(signer, KeySigner)
        assert signer.key.public == key
    with pytest.raises(InputError, match="no key of that name"):
        signers.signer("key:nobody", settings)


def test_only_an_active_key_signs(tmp_path: Path) -> None:
    settings, _ = at(tmp_path)
    old = change.make(settings.keys, epoch=1)
    change.rotate(settings.keys, epoch=2)
    change.add(
        settings.keys, private.generate("ed25519", "", created=0).public.pem, "team", epoch=3
    )
    for spec, state in ((f"key:{old.id}", "old"), ("key:team", "imported")):
        with pytest.raises(SignerError, match=f"is {state}"):
            signers.signer(spec, settings)


@pytest.mark.parametrize("algorithm", ["ecdsa-p256", "ed25519"])
def test_a_program_signs(tmp_path: Path, algorithm: str) -> None:
    program = Program(algorithm)
    signer = signers.signer(f"exec:{sys.executable}", at(tmp_path, program)[0])
    assert isinstance(signer, ProgramSigner)
    assert program.key.public.id in signer.name
    read = bundle.parse(signer.bundle(PAYLOAD), "it")
    assert read.key_hint == program.key.public.hint
    program.key.public.verify(read.envelope.signature, read.envelope.signed())
    assert program.calls == [[sys.executable, "public-key"], [sys.executable, "sign"]]
    assert not (tmp_path / "keys").exists()


def test_a_signature_that_does_not_fit_is_not_used(tmp_path: Path) -> None:
    program = Program()
    signer = signers.signer(f"exec:{sys.executable}", at(tmp_path, program)[0])
    assert signer is not None
    program.signs_with = private.generate("ecdsa-p256", "x", created=0)
    with pytest.raises(SignerError, match="no signature by its key"):
        signer.bundle(PAYLOAD)


@pytest.mark.parametrize(
    "error", [ToolError("exit status 1"), DeadlineError("no answer after 120 s")]
)
def test_a_program_that_fails(tmp_path: Path, error: ToolError) -> None:
    program = Program()
    program.fails = error
    with pytest.raises(SignerError, match=error.message) as refused:
        signers.signer(f"exec:{sys.executable}", at(tmp_path, program)[0])
    assert refused.value.__cause__ is error


@pytest.mark.parametrize(("answer", "why"), [(b"", "nothing"), (b"hello", "not one public key")])
def test_a_program_that_says_no_key(tmp_path: Path, answer: bytes, why: str) -> None:
    program = Program()
    program.public = answer
    with pytest.raises(SignerError, match=why):
        signers.signer(f"exec:{sys.executable}", at(tmp_path, program)[0])


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SignerError, match="no such program"):
        signers.signer(f"exec:{tmp_path}/nothing", at(tmp_path)[0])


_OPENSSL = """#!/bin/sh
case $1 in
public-key) exec openssl pkey -in {key} -pubout ;;
sign) exec openssl dgst -sha256 -sign {key} ;;
esac
exit 64
"""


def test_a_script_around_openssl_signs(tmp_path: Path) -> None:
    key = change.make(tmp_path / "theirs", epoch=1)
    script = tmp_path / "sign with spaces"
    script.write_text(_OPENSSL.format(key=change.private_file(tmp_path / "theirs", key)))
    script.chmod(0o755)
    signer = signers.signer(f"exec:{script}", at(tmp_path)[0])
    assert signer is not None
    read = bundle.parse(signer.bundle(PAYLOAD), "it")
    assert read.key_hint == key.hint
    key.verify(read.envelope.signature, read.envelope.signed())


def test_importing_it_loads_no_cryptography() -> None:
    program = (
        "import sys, buildkit.cli.keys, buildkit.cli.passphrases, buildkit.evidence.signers;"
        "sys.exit('cryptography' in sys.modules)"
    )
    run([sys.executable, "-c", program])
