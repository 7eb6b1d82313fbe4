"""Signing without a key of one's own: Sigstore certifies an identity for some minutes.

Whoever has an identity token (a CI job, a person in a browser) gets a certificate for a key that
never leaves memory (Fulcio), and each signature is entered into a public log (Rekor). The library
``sigstore`` speaks to both; what it makes is checked against the trust root before it is given on.
"""
# ruff: noqa: PLC0415 - sigstore costs 0.3 s to import: it loads with the first signature

from __future__ import annotations

import os
import sys
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from buildkit import canonical
from buildkit.errors import EvidenceError, SignerError
from buildkit.evidence import bundle, trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sigstore.models import ClientTrustConfig
    from sigstore.oidc import IdentityToken
    from sigstore.sign import Signer as LibrarySigner
    from sigstore.verify import Verifier

    from buildkit.evidence.signer import Signer

TOKEN_VARIABLE = "SIGSTORE_ID_TOKEN"  # noqa: S105 - the name of a variable, as cosign has it
_PATIENCE = 60.0
# A signature takes seconds, and a certificate must still hold when the log takes the entry.
_MARGIN = timedelta(seconds=60)
_LONGEST_TOKEN = 64 * 1024
_OTHERWISE = "or sign with a key of your own: --signer key"

_T = TypeVar("_T")


def signer(
    *,
    trust_config: Path | None = None,
    identity_token: str | None = None,
    environ: Mapping[str, str] | None = None,
    terminal: bool | None = None,
    patience: float = _PATIENCE,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Signer:
    """A signer that asks Sigstore. Nothing is asked before its name or a signature is.

    Args:
        trust_config: a Sigstore ``ClientTrustConfig`` (JSON); the public instance when absent,
            whose trust root is brought up to date over the network.
        identity_token: an OpenID Connect token whose audience is ``sigstore``, or a file that
            holds one; else ``SIGSTORE_ID_TOKEN``, the same; else the identity of the CI job; else
            a browser is opened, if there is a person.
        environ: variables; this process's own when absent.
        terminal: whether there is a person to open a browser for; found out when absent.
        patience: seconds for each answer of the services, a person's left aside.
        clock: the time, with a zone.

    Returns:
        A signer that uses one certificate for as long as that holds, and then the next. Reading
        its name asks for the identity, so that a build can fail early.
    """
    return _Keyless(
        _Identities(
            given=identity_token
            or (os.environ if environ is None else environ).get(TOKEN_VARIABLE),
            terminal=sys.stdin.isatty() and sys.stderr.isatty() if terminal is None else terminal,
        ),
        trust_config,
        patience,
        clock,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Identities:
    """Where identity tokens come from, each time one is needed."""

    given: str | None
    terminal: bool

    def token(self, config: Callable[[], ClientTrustConfig], worker: _Worker) -> IdentityToken:
        from sigstore.oidc import IdentityToken, Issuer, detect_credential

        raw = _given(self.given) if self.given else worker(detect_credential)
        if raw:
            return IdentityToken(raw)
        if not self.terminal:
            msg = "there is nobody to sign as: no identity token, no CI job that has one"
            raise SignerError(
                msg,
                f"in CI, let the job ask for tokens (docs/keyless.md); or set {TOKEN_VARIABLE}; "
                + _OTHERWISE,
            )
        issuer = Issuer(config().signing_config.get_oidc_url())
        # Here, and not by the worker: a person may take longer, and may press Ctrl-C.
        return issuer.identity_token()


def _given(text: str) -> str:
    """The token itself, or the content of the file that holds it."""
    if text.count(".") == 2 and "/" not in text:
        return text
    try:
        with Path(text).open(encoding="ascii") as file:
            return file.read(_LONGEST_TOKEN).strip()
    except (OSError, ValueError) as error:
        # Not shown: what looks like no file may be most of a secret.
        msg = "the identity token is neither a JWT nor a file that can be read"
        raise SignerError(msg, "give a token whose audience is sigstore, or a file") from error


class _Worker:
    """Has calls done by a thread of its own, and does not wait for ever.

    The library sets no limits of its own, and keeps one connection for each thread.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] | None = None

    def __call__(self, call: Callable[[], _T]) -> _T:
        if self._calls is None:
            self._calls = SimpleQueue()
            Thread(target=_work, args=(self._calls,), daemon=True).start()
        future: Future[_T] = Future()
        self._calls.put((future, call))
        try:
            return future.result(timeout=self._patience)
        except TimeoutError:
            if not future.done():
                # It still waits for its answer; the next call gets another thread.
                self._calls = None
                msg = f"no answer after {self._patience:.0f} s"
                raise TimeoutError(msg) from None
            raise


def _work(calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]]) -> None:
    while True:
        future, call = calls.get()
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            future.set_exception(error)


class _Keyless:
    def __init__(
        self,
        identities: _Identities,
        trust_config: Path | None,
        patience: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._identities = identities
        self._trust_config = trust_config
        self._worker = _Worker(patience)
        self._clock = clock
        self._token: IdentityToken | None = None
        self._service: tuple[ClientTrustConfig, Verifier] | None = None
        self._certified: LibrarySigner | None = None
        self._until = datetime.max.replace(tzinfo=UTC)

    @property
    def name(self) -> str:
        token = self._identity()
        return f"{token.identity} (issuer {token.federated_issuer})"

    def bundle(self, payload: bytes) -> bytes:
        from sigstore.dsse import Statement

        certified = self._signer()
        _, verifier = self._services()
        with _translated("the statement could not be signed"):
            statement = Statement(payload)
            signed = self._worker(lambda: certified.sign_dsse(statement))
            self._until = signed.signing_certificate.not_valid_after_utc
        with _translated("what the services answered does not hold"):
            # The library gives on what the log answered unseen.
            _, found = verifier.verify_dsse(signed, trust.Anyone())
            document = canonical.load(signed.to_json())
        stamps = document["verificationMaterial"].get("timestampVerificationData")
        if stamps is not None and not stamps.get("rfc3161Timestamps"):
            del document["verificationMaterial"]["timestampVerificationData"]
        data = canonical.dump(document)
        if found != payload or bundle.parse(data, "the bundle").envelope.payload != payload:
            msg = "the bundle that was made is about other bytes than were to be signed"
            raise SignerError(msg)
        return data

    def _signer(self) -> LibrarySigner:
        if self._certified is None or self._clock() + _MARGIN >= self._until:
            from sigstore.sign import SigningContext

            config, _ = self._services()
            token = self._identity(fresh=self._certified is not None)
            with _translated("no certificate was issued"):
                context = SigningContext.from_trust_config(config)

                def certify() -> LibrarySigner:
                    with context.signer(token) as made:
                        return made

                self._certified = self._worker(certify)
            self._until = datetime.max.replace(tzinfo=UTC)
        return self._certified

    def _identity(self, *, fresh: bool = False) -> IdentityToken:
        """The token; a fresh one must be for the same identity, or one build had two signers."""
        before = self._token
        if before is not None and not fresh and before.in_validity_period():
            return before
        with _translated("the identity token cannot be used"):
            found = self._identities.token(lambda: self._services()[0], self._worker)
        if before is not None and (before.identity, before.issuer) != (
            found.identity,
            found.issuer,
        ):
            msg = f"the identity changed from {before.identity} to {found.identity}"
            raise SignerError(msg, "sign everything again as one of them")
        self._token = found
        return found

    def _services(self) -> tuple[ClientTrustConfig, Verifier]:
        if self._service is None:
            from sigstore.verify import Verifier

            trust.quiet()
            where = self._trust_config or "Sigstore's public instance"
            with _translated(f"the trust configuration of {where} cannot be used"):
                config = self._config()
                self._service = config, Verifier(trusted_root=config.trusted_root)
        return self._service

    def _config(self) -> ClientTrustConfig:
        from sigstore.errors import Error
        from sigstore.models import ClientTrustConfig

        if self._trust_config is None:
            config = self._worker(ClientTrustConfig.production)
        else:
            text = self._trust_config.read_bytes()
            canonical.load(text)
            config = ClientTrustConfig.from_json(text.decode())
        # Entries of Rekor v2 are refused by cosign 2; they are made where there is nothing else.
        config.force_tlog_version = 1
        try:
            config.signing_config.get_tlogs()
        except Error:
            config.force_tlog_version = None
        return config


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Errors of the library, and of what it stands on, as ours."""
    try:
        yield
    except (SignerError, MemoryError):
        raise
    except EvidenceError as error:
        msg = f"{what}: {error.message}"
        raise SignerError(msg, "tell whoever runs the service; " + _OTHERWISE) from error
    # The library promises no one type: servers' answers reach into its depths.
    except Exception as error:
        why, remedy = _explained(error)
        msg = f"{what}: {why}"
        raise SignerError(msg, remedy) from error


def _explained(error: Exception) -> tuple[str, str]:
    """Why, and what to do, of an error from below."""
    causes = list(_causes(error))[::-1]
    for explain in (_no_permission, _bad_answer, _no_answer, _no_update, _bad_identity):
        for cause in causes:
            if found := explain(cause):
                why, remedy = found
                return why, f"{remedy}; {_OTHERWISE}"
    if isinstance(error, OSError):
        return error.strerror or str(error), "correct the path"
    return _line(error), f"docs/keyless.md says what is needed; {_OTHERWISE}"


def _no_permission(cause: BaseException) -> tuple[str, str] | None:
    import id as ambient

    if not isinstance(cause, ambient.GitHubOidcPermissionCredentialError):
        return None
    return (
        "this workflow may not ask for identity tokens",
        "give the job `permissions: id-token: write`",
    )


def _bad_answer(cause: BaseException) -> tuple[str, str] | None:
    import requests

    if not isinstance(cause, requests.HTTPError) or cause.response is None:
        return None
    answer = cause.response
    why = f"{answer.url} answered {answer.status_code}: {' '.join(answer.text.split())[:200]}"
    if answer.status_code in {401, 403}:
        return why, "get an identity token that the service knows, for it and not expired"
    return why, "try again later"


def _no_answer(cause: BaseException) -> tuple[str, str] | None:
    import requests

    if not isinstance(cause, TimeoutError | requests.RequestException):
        return None
    why = _line(cause)
    if isinstance(cause, requests.ConnectionError) and cause.request is not None:
        url = str(cause.request.url).partition("?")[0]
        why = f"{url} cannot be reached: {_innermost(cause)}"
    return why, "check the network, the proxy and the trust configuration"


def _no_update(cause: BaseException) -> tuple[str, str] | None:
    from tuf.api.exceptions import DownloadError

    if not isinstance(cause, DownloadError):
        return None
    why = f"it cannot be brought up to date: {_innermost(cause)}"
    return why, "check the network and the proxy"


def _bad_identity(cause: BaseException) -> tuple[str, str] | None:
    import jwt
    from sigstore.oidc import ExpiredIdentity, IdentityError

    remedy = "get a new identity token whose audience is sigstore"
    if isinstance(cause, ExpiredIdentity | jwt.ExpiredSignatureError):
        return "it has expired", remedy
    if isinstance(cause, jwt.InvalidAudienceError):
        return "its audience is not sigstore", remedy
    if isinstance(cause, jwt.PyJWTError):
        return f"it is not one ({_line(cause)})", remedy
    return (_line(cause), remedy) if isinstance(cause, IdentityError) else None


def _innermost(error: BaseException) -> str:
    """What the operating system said, if it was asked."""
    found = [each.strerror for each in _causes(error) if isinstance(each, OSError)]
    return next((each for each in reversed(found) if each), _line(error))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(16):
        if error is None:
            return
        yield error
        context = None if error.__suppress_context__ else error.__context__
        error = error.__cause__ or context
