# ruff: noqa: S106 - what looks like a password here opens nothing
from __future__ import annotations

import base64
import json
import traceback
from typing import TYPE_CHECKING, Any

import pytest
from fake_registry import Fake, Handler, serving
from hypothesis import given
from hypothesis import strategies as st
from registry_world import LAYER, access, make, name_of, no_programs

from buildkit.errors import RegistryError
from buildkit.pipeline import registries
from buildkit.registry import Login, challenge, of_environment
from buildkit.registry.credentials import PASSWORD, USER, Keychain
from buildkit.run import Result
from buildkit.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ENVIRON = {USER: "me", PASSWORD: "s3cret-pass"}


def config(folder: Path, document: Any) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    text = document if isinstance(document, str) else json.dumps(document)
    (folder / "config.json").write_text(text)
    return {"DOCKER_CONFIG": str(folder)}


def auth(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


class Helper:
    """A credential helper that answers from memory."""

    def __init__(self, answer: str, code: int = 0) -> None:
        self.answer, self.code = answer, code
        self.calls: list[tuple[tuple[str, ...], bytes | None]] = []

    def __call__(
        self, argv: Sequence[str | Path], *, stdin: bytes | None = None, **_: Any
    ) -> Result:
        self.calls.append((tuple(map(str, argv)), stdin))
        return Result(
            argv=tuple(map(str, argv)),
            code=self.code,
            stdout=self.answer.encode(),
            stderr="s3cret-pass",
        )


def test_of_the_environment() -> None:
    assert of_environment(ENVIRON) == Login(user="me", password="s3cret-pass")
    assert of_environment({}) is None
    assert "s3cret" not in repr(of_environment(ENVIRON))


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ({"auth": auth("a", "b:c")}, Login(user="a", password="b:c")),
        ({"auth": base64.b64encode(b"a:b\0").decode()}, Login(user="a", password="b")),
        ({"username": "a", "password": "b"}, Login(user="a", password="b")),
        ({"identitytoken": "t", "auth": auth("a", "")}, Login(identity_token="t")),
        ({"registrytoken": "t"}, Login(registry_token="t")),
        ({}, Login(user="me", password="s3cret-pass")),
    ],
)
@pytest.mark.parametrize("key", ["h.example:5000", "https://h.example:5000/v1/"])
def test_of_the_docker_configuration(
    tmp_path: Path, key: str, entry: dict[str, str], found: Login
) -> None:
    environ = {
        **ENVIRON,
        **config(tmp_path, {"auths": {key: entry, "other.example": {"auth": "?"}}}),
    }
    keychain = Keychain(environ=environ, runner=no_programs)
    assert keychain.login("h.example:5000") == found


def test_of_a_helper(tmp_path: Path) -> None:
    helper = Helper('{"ServerURL": "x", "Username": "u", "Secret": "p"}')
    document = {
        "credHelpers": {"h.example": "one"},
        "credsStore": "all",
        "auths": {"o.example": {}},
    }
    keychain = Keychain(environ=config(tmp_path, document), runner=helper)
    assert keychain.login("h.example") == Login(user="u", password="p")
    assert keychain.login("o.example") == Login(user="u", password="p")
    assert helper.calls == [
        (("docker-credential-one", "get"), b"h.example\n"),
        (("docker-credential-all", "get"), b"o.example\n"),
    ]
    helper.answer = '{"Username": "<token>", "Secret": "t"}'
    assert keychain.login("h.example") == Login(identity_token="t")
    helper.answer, helper.code = "credentials not found in native keychain\n", 1
    assert keychain.login("h.example") is None


@pytest.mark.parametrize(
    "answer", ["s3cret-pass", "{}", '{"Username": 1, "Secret": "s3cret-pass"}']
)
@pytest.mark.parametrize("code", [0, 1])
def test_a_helper_that_fails_tells_no_secret(tmp_path: Path, answer: str, code: int) -> None:
    environ = config(tmp_path, {"credsStore": "all"})
    with pytest.raises(RegistryError) as caught:
        Keychain(environ=environ, runner=Helper(answer, code)).login("h.example")
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "document",
    [
        "{", "[]", {"auths": []}, {"auths": {"h.example": 1}}, {"credsStore": 3},
        {"auths": {"h.example": {"auth": 1}}}, {"auths": {"h.example": {"auth": "s3cret"}}},
        {"credsStore": "../x"},
        {"credHelpers": {"h.example": "a b"}},
    ],
)  # fmt: skip
def test_a_configuration_that_is_broken(tmp_path: Path, document: Any) -> None:
    environ = config(tmp_path, document)
    with pytest.raises(RegistryError, match=r"config\.json") as caught:
        Keychain(environ=environ, runner=no_programs).login("h.example")
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@given(st.text(max_size=200))
def test_any_challenge_is_read(text: str) -> None:
    assert isinstance(challenge.parse(text), tuple)


def test_challenges() -> None:
    text = 'Negotiate abc==, Bearer realm="https://a/t?x=1,2",service=it, Basic realm="q\\"x"'
    schemes = [(each.scheme, dict(each.parameters)) for each in challenge.parse(text)]
    assert schemes == [
        ("negotiate", {}),
        ("bearer", {"realm": "https://a/t?x=1,2", "service": "it"}),
        ("basic", {"realm": 'q"x'}),
    ]


@pytest.mark.parametrize("how", ["basic", "bearer"])
def test_with_credentials_there_and_back(tmp_path: Path, how: str) -> None:
    world = make(tmp_path / "a")
    with serving(Fake(auth=how)) as fake:
        way = {"environ": ENVIRON}
        registries.push("demo:1", name_of(fake), store=world.store, access=access(**way))
        other = Store.create(tmp_path / "b")
        registries.pull(name_of(fake, "team/demo:1"), store=other, access=access(**way))
    assert other.check() == ()
    if how == "bearer":
        asked = [each["scope"] for each in fake.asked_tokens]
        assert asked == [
            ["repository:team/demo:pull,push", "a:b:pull"],
            ["repository:team/demo:pull", "a:b:pull"],
        ]
    # A body goes only where it is taken: the way to log in is asked for without one.
    assert fake.received < 2 * len(LAYER)


def test_a_token_that_ends_on_the_way(tmp_path: Path) -> None:
    world = make(tmp_path / "a")
    with serving(Fake(auth="bearer", token_lives=20)) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access(ENVIRON))
        other = Store.create(tmp_path / "b")
        registries.pull(name_of(fake, "team/demo:1"), store=other, access=access(ENVIRON))
    assert other.check() == ()
    assert len(fake.asked_tokens) > 3


def test_a_token_that_is_never_good(tmp_path: Path) -> None:
    world = make(tmp_path / "a")
    with serving(Fake(auth="bearer", token_lives=0)) as fake:
        with pytest.raises(RegistryError, match="answers 401"):
            registries.push("demo:1", name_of(fake), store=world.store, access=access(ENVIRON))
        assert len(fake.asked_tokens) < 10


def test_an_identity_token(tmp_path: Path) -> None:
    world = make(tmp_path / "a")
    with serving(Fake(auth="bearer")) as fake:
        environ = config(tmp_path / "c", {"auths": {fake.address: {"identitytoken": "refresh-me"}}})
        registries.push("demo:1", name_of(fake), store=world.store, access=access(environ))
    assert fake.asked_tokens[0]["grant_type"] == ["refresh_token"]
    assert not any("refresh-me" in path for _, path, _ in fake.requests)


@pytest.mark.parametrize("how", ["basic", "bearer"])
@pytest.mark.parametrize("environ", [{}, {USER: "me", PASSWORD: "wrong-s3cret"}])
def test_without_the_right_credentials(tmp_path: Path, how: str, environ: dict[str, str]) -> None:
    world = make(tmp_path / "a")
    with serving(Fake(auth=how)) as fake:
        with pytest.raises(RegistryError) as caught:
            registries.push("demo:1", name_of(fake), store=world.store, access=access(environ))
        said = ("wants to know", "not accept", "answers 401")
        assert any(each in caught.value.message for each in said)
        assert "docker login" in caught.value.remedy
        assert "s3cret" not in "".join(traceback.format_exception(caught.value))
        assert fake.received == 0


@pytest.mark.parametrize("realm", ["file:///x", "", "ftp://h/x", "http://[x"])
def test_a_token_service_that_is_none(tmp_path: Path, realm: str) -> None:
    def before(handler: Handler) -> bool:
        handler.answer(401, WWW_Authenticate=f'Bearer realm="{realm}"')
        return True

    with serving(Fake(before=before)) as fake, pytest.raises(RegistryError):
        registries.pull(
            name_of(fake, "x:1"), store=Store.create(tmp_path / "b"), access=access(ENVIRON)
        )


@pytest.mark.parametrize("data", [b"{", b"[]", b"{}", b'{"token": 1}', b'{"token": "a\\r\\nX: y"}'])
def test_a_token_that_is_none(tmp_path: Path, data: bytes) -> None:
    def before(handler: Handler) -> bool:
        if not handler.path.startswith("/token"):
            return False
        handler.answer(200, data)
        return True

    with (
        serving(Fake(auth="bearer", before=before)) as fake,
        pytest.raises(RegistryError, match="no token"),
    ):
        registries.pull(
            name_of(fake, "x:1"), store=Store.create(tmp_path / "b"), access=access(ENVIRON)
        )


@pytest.mark.parametrize("how", ["basic", "bearer"])
def test_credentials_stay_at_home(tmp_path: Path, how: str) -> None:
    """Blobs may come from elsewhere; whoever is there is told nothing."""
    world = make(tmp_path / "a")
    with serving(Fake()) as store, serving(Fake(auth=how)) as fake:
        registries.push("demo:1", name_of(fake), store=world.store, access=access(ENVIRON))
        store.blobs = fake.blobs

        def away(handler: Handler) -> bool:
            if handler.command != "GET" or "/blobs/" not in handler.path:
                return False
            handler.answer(307, Location=f"http://{store.address}{handler.path}")
            return True

        fake.before = away
        other = Store.create(tmp_path / "b")
        registries.pull(name_of(fake, "team/demo:1"), store=other, access=access(ENVIRON))
    assert other.check() == ()
    assert len(store.requests) > 5
    assert all("Authorization" not in headers for _, _, headers in store.requests)


def test_who_is_led_away_and_asked_there_says_nothing(tmp_path: Path) -> None:
    def asks(handler: Handler) -> bool:
        handler.answer(401, WWW_Authenticate='Basic realm="give"')
        return True

    def away(handler: Handler) -> bool:
        handler.answer(307, Location=f"http://{thief.address}{handler.path}")
        return True

    with serving(Fake(before=asks)) as thief, serving(Fake(before=away)) as fake:
        with pytest.raises(RegistryError, match="401"):
            registries.pull(
                name_of(fake, "x:1"), store=Store.create(tmp_path / "b"), access=access(ENVIRON)
            )
        assert thief.requests
        assert all("Authorization" not in headers for _, _, headers in thief.requests)
