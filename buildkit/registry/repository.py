"""One repository of a registry: manifests, blobs and referrers, each held to its digest.

Source: OCI distribution-spec 1.1.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from buildkit import canonical, digests, media
from buildkit.errors import DigestError, RegistryError, StoreError
from buildkit.records import Descriptor
from buildkit.registry.patience import Again, Denied, Patience
from buildkit.registry.transport import Answer, Body, Request, Transport, joined, origin, place
from buildkit.store.blobs import DOCUMENT_LIMIT
from buildkit.store.documents import DOCUMENT_TYPES, descriptor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from buildkit.registry.reference import Reference
    from buildkit.registry.tokens import Authorizer

T = TypeVar("T")

LIES = "do not trust this registry; fetch from another one"

_ACCEPT = ", ".join(sorted(DOCUMENT_TYPES))
_MOST_PAGES = 10_000
_MOST_TOKENS = 3
_NEXT = re.compile(r'<([^<>]*)>\s*;\s*rel="?next"?')
_SAID = 300
_DENIALS = frozenset({"BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN", "MANIFEST_UNKNOWN"})
_MOST_DENIALS = 5


class Repository:
    """A repository, for one command.

    Args:
        reference: where it is.
        transport: carries the requests.
        authorizer: of that registry.
        patience: times.
        scope: what to ask a token for.
    """

    def __init__(
        self,
        reference: Reference,
        transport: Transport,
        authorizer: Authorizer,
        patience: Patience,
        *,
        plain_http: bool,
        scope: str,
    ) -> None:
        self.reference = reference
        self.patience = patience
        self.base = f"{'http' if plain_http else 'https'}://{reference.host}"
        self._transport = transport
        self._authorizer = authorizer
        self._scope = scope
        self._has_referrers: bool | None = None

    def __str__(self) -> str:
        return self.reference.name

    def url(self, *parts: str) -> str:
        """An address below this repository."""
        return "/".join([f"{self.base}/v2/{self.reference.repository}", *parts])

    def send(self, request: Request) -> Answer:
        """One try of one request, with credentials; asks for fresh ones after a 401.

        Raises:
            Again: worth another try.
            RegistryError: it cannot work, or we may not.
        """
        at_home = origin(request.url) == origin(self.base)
        shown = self._authorizer.header(self._scope) if at_home else None
        answer = self._transport.send(request, shown)
        # More than once, as the token that another thread brought may be at its end by now.
        for _ in range(_MOST_TOKENS):
            if answer.status != 401 or not at_home or origin(answer.url) != origin(self.base):
                break
            with answer:
                asked = answer.headers.get("WWW-Authenticate", "")
            shown = self._authorizer.fresh(self._scope, asked, shown)
            answer = self._transport.send(request, shown)
        if answer.status in (401, 403):
            self._denied(answer)
        return answer

    def persist(self, attempt: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
        """See `Patience.persist`."""
        return self.patience.persist(attempt, progress)

    def head(self, kind: str, pointer: str) -> Answer | None:
        """The headers of a manifest or a blob; nothing when it is not there.

        Raises:
            RegistryError: it cannot be told.
        """

        def attempt() -> Answer | None:
            headers = {"Accept": _ACCEPT} if kind == "manifests" else {}
            request = Request(method="HEAD", url=self.url(kind, pointer), headers=headers)
            with self.send(request) as answer:
                if answer.status == 404:
                    return None
                if answer.status != 200:
                    self.refuse(answer, f"{kind[:-1]} {pointer}")
                return answer

        return self.persist(attempt)

    def has_blob(self, blob: Descriptor) -> bool:
        """Whether a blob is there, in its right length.

        Raises:
            DigestError: it is there in another length.
            RegistryError: it cannot be told.
        """
        answer = self.head("blobs", blob.digest)
        if answer is not None and answer.length not in (None, blob.size):
            msg = f"{self}: has {blob.digest} in {answer.length} bytes, not {blob.size}"
            raise DigestError(msg, LIES)
        return answer is not None

    def points_to(self, pointer: str) -> str:
        """The digest of the manifest that a tag or a digest names; empty when there is none.

        Raises:
            RegistryError: it cannot be told.
        """
        answer = self.head("manifests", pointer)
        if answer is None:
            return ""
        given = answer.headers.get("Docker-Content-Digest", "")
        if digests.is_digest(given):
            return given
        # Without the header only its bytes tell.
        found = self.find(pointer)
        return "" if found is None else found[0].digest

    def find(
        self, pointer: str, wanted: Descriptor | None = None
    ) -> tuple[Descriptor, bytes] | None:
        """A manifest or an index with its bytes; nothing when it is not there.

        Args:
            pointer: tag or digest.
            wanted: what is known of it already.

        Raises:
            DigestError: its bytes are not what digest and size say.
            RegistryError: it is no manifest, or it cannot be had.
        """
        url = self.url("manifests", pointer)

        def attempt() -> tuple[Descriptor, bytes] | None:
            with self.send(Request(method="GET", url=url, headers={"Accept": _ACCEPT})) as answer:
                if answer.status == 404:
                    return None
                if answer.status != 200:
                    self.refuse(answer, f"manifest {pointer}")
                kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
                if kind not in DOCUMENT_TYPES or (wanted and kind != wanted.media_type):
                    msg = f"{place(url)}: content type {kind[:80]!r} in the place of a manifest"
                    raise RegistryError(msg, "check the host and the name of the repository")
                limit = DOCUMENT_LIMIT if wanted is None else min(DOCUMENT_LIMIT, wanted.size)
                data = answer.document(limit)
                given = answer.headers.get("Docker-Content-Digest")
            digest = digests.of_bytes(data)
            expected = [pointer if digests.is_digest(pointer) else digest, given or digest]
            if wanted is not None:
                expected.append(wanted.digest)
                if len(data) != wanted.size:
                    msg = f"{place(url)}: {len(data)} bytes where {wanted.size} were promised"
                    raise DigestError(msg, LIES)
            for each in expected:
                if each != digest:
                    msg = f"{place(url)}: expected {each}, found {digest}"
                    raise DigestError(msg, LIES)
            return Descriptor(media_type=kind, digest=digest, size=len(data)), data

        return self.persist(attempt)

    def put_manifest(self, pointer: str, data: bytes, media_type: str) -> bool:
        """Write a manifest or an index; whether the registry says that it has taken it as referrer.

        Raises:
            DigestError: the registry understood other bytes.
            RegistryError: it does not take it.
        """
        denied = 0

        def attempt() -> bool:
            nonlocal denied
            try:
                return self.put_manifest_once(pointer, data, media_type)
            except Denied as error:
                denied += 1
                if denied == _MOST_DENIALS:
                    raise error.refusal from error
                raise

        return self.persist(attempt)

    def put_manifest_once(self, pointer: str, data: bytes, media_type: str) -> bool:
        """One try of `put_manifest`.

        Raises:
            Denied: it has not taken it, for want of a part.
            Again: nobody knows whether it has taken it, or will.
            DigestError, RegistryError: as there.
        """
        digest = digests.of_bytes(data)
        request = Request(
            method="PUT",
            url=self.url("manifests", pointer),
            headers={"Content-Type": media_type},
            body=Body(size=len(data), pieces=lambda: [data]),
            read_s=self.patience.commit_s,
        )
        with self.send(request) as answer:
            if answer.status not in (200, 201):
                said = _errors(answer)
                refusal = self._refusal(answer, f"manifest {pointer}", said)
                raise Denied(refusal) if _DENIALS & {code for code, _ in said} else refusal
            given = answer.headers.get("Docker-Content-Digest", digest)
            if given != digest:
                msg = f"{self}: took manifest {digest} for {given[:80]}"
                raise DigestError(msg, LIES)
            return "OCI-Subject" in answer.headers

    @contextmanager
    def blob(self, blob: Descriptor, offset: int) -> Iterator[Iterator[bytes]]:
        """The bytes of a blob from `offset` on, one try; whoever reads them holds them to it.

        Raises:
            Again: the line was cut; also while they are read.
            DigestError: it has another length.
            RegistryError: it cannot be had.
        """
        # With its end, as some registries do not understand a range without one.
        headers = {"Range": f"bytes={offset}-{blob.size - 1}"} if offset else {}
        request = Request(method="GET", url=self.url("blobs", blob.digest), headers=headers)
        with self.send(request) as answer:
            if answer.status not in (200, 206) or (answer.status == 206 and not offset):
                self.refuse(answer, f"blob {blob.digest}")
            skip = offset if answer.status == 200 else 0
            if answer.status == 206:
                given = answer.headers.get("Content-Range", "")
                if not given.replace(" ", "").lower().startswith(f"bytes{offset}-"):
                    msg = f"{self}: {blob.digest} from byte {offset} on, but it gave {given[:80]!r}"
                    raise DigestError(msg, LIES)
            promised = blob.size - offset + skip
            if answer.length not in (None, promised):
                msg = f"{self}: {blob.digest} in {answer.length} bytes where {promised} are left"
                raise DigestError(msg, LIES)
            yield self._exact(answer, blob, skip, blob.size - offset)

    def referrers(self, digest: str) -> tuple[dict[str, Any], ...]:
        """The entries of what hangs on `digest`, as the registry or the fallback tag lists them.

        Raises:
            RegistryError: no list, or it cannot be had.
        """
        if self._has_referrers is not False:
            url, headers = self.url("referrers", digest), {"Accept": media.INDEX}
            first = Request(method="GET", url=url, headers=headers)
            found = self.paged(first, "referrers", self._listed)
            if found is not None:
                self._has_referrers = True
                return found
            self._has_referrers = False
        return self.tagged_referrers(digest)

    @property
    def has_referrers(self) -> bool | None:
        """Whether it has the referrers API; nothing before `referrers` was asked."""
        return self._has_referrers

    def tagged_referrers(self, digest: str) -> tuple[dict[str, Any], ...]:
        """The entries of the fallback tag of `digest` (distribution-spec, "Referrers Tag Schema").

        Raises:
            RegistryError: something else has that tag.
        """
        tag = fallback_tag(digest)
        found = self.find(tag)
        return () if found is None else self._entries(found[1], f"{self}:{tag}")

    def paged(
        self, first: Request, what: str, read: Callable[[Answer], Sequence[T] | None]
    ) -> tuple[T, ...] | None:
        """A list in pages, of which each names the next (distribution-spec, "Listing Tags").

        Args:
            first: asks for the first page.
            what: the list is of, for messages.
            read: gives what a page lists; nothing when there is no such list.

        Raises:
            RegistryError: it ends in the middle, nowhere, or at another host; and as `read`.
        """
        asking = first
        found: list[T] = []

        def attempt() -> tuple[Sequence[T] | None, str]:
            with self.send(asking) as answer:
                link = _NEXT.search(answer.headers.get("Link", "")[:4096])
                return read(answer), link[1] if link else ""

        for _ in range(_MOST_PAGES):
            page, link = self.persist(attempt)
            if page is None:
                if found:
                    msg = f"{place(asking.url)}: the next page of the list is not there"
                    raise RegistryError(msg, LIES)
                return None
            found += page
            if not link:
                return tuple(found)
            before, asking = asking, replace(asking, url=joined(asking.url, link))
            if asking == before:
                break
            if origin(asking.url) != origin(self.base):
                msg = f"{self}: the list of {what} goes on at another host"
                raise RegistryError(msg, LIES)
        msg = f"{self}: the list of {what} has no end"
        raise RegistryError(msg, LIES)

    def refuse(self, answer: Answer, what: str) -> NoReturn:
        """Say what the registry said in place of what was asked for.

        Raises:
            RegistryError: always.
        """
        raise self._refusal(answer, what, _errors(answer))

    def _refusal(self, answer: Answer, what: str, said: Sequence[tuple[str, str]]) -> RegistryError:
        msg = f"{self}: {what}: the registry answers {answer.status}{_reason(said)}"
        if answer.status == 404:
            return RegistryError(msg, "check the name of the repository, the tag and the digest")
        if answer.status == 400 and not said and self.base.startswith("http:"):
            return RegistryError(msg, "if this registry speaks TLS, leave --plain-http away")
        return RegistryError(msg)

    def _denied(self, answer: Answer) -> NoReturn:
        with answer:
            msg = f"{self}: the registry answers {answer.status}{_reason(_errors(answer))}"
        if answer.status == 401:
            raise RegistryError(msg, self._authorizer.remedy)
        raise RegistryError(msg, "log in as somebody who may do this here, or check the name")

    def _exact(self, answer: Answer, blob: Descriptor, skip: int, left: int) -> Iterator[bytes]:
        for piece in answer.pieces():
            dropped = min(skip, len(piece))
            skip -= dropped
            rest = piece[dropped:]
            if len(rest) > left:
                msg = f"{self}: {blob.digest} goes on after its {blob.size} bytes"
                raise DigestError(msg, LIES)
            left -= len(rest)
            if rest:
                yield rest
        if left and answer.says_end:
            msg = f"{self}: {blob.digest} ends after {blob.size - left} of {blob.size} bytes"
            raise DigestError(msg, LIES)
        if left:
            msg = f"{self}: {blob.digest}: cut after {blob.size - left} of {blob.size} bytes"
            raise Again(msg)

    def _listed(self, answer: Answer) -> tuple[dict[str, Any], ...] | None:
        # 404 says that there is no such API; older registries know no better answers.
        if answer.status in (400, 404, 405, 501):
            return None
        if answer.status != 200:
            self.refuse(answer, "referrers")
        kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != media.INDEX:
            return None
        return self._entries(answer.document(DOCUMENT_LIMIT), place(answer.url))

    def _entries(self, data: bytes, where: str) -> tuple[dict[str, Any], ...]:
        try:
            document = canonical.load(data)
            listed = document["manifests"] or []
            for at, entry in enumerate(listed):
                descriptor(entry, f"manifests[{at}]")
        except (ValueError, KeyError, TypeError, StoreError) as error:
            msg = f"{where}: not a list of referrers: {str(error)[:100]}"
            raise RegistryError(msg, LIES) from error
        return tuple(listed)


def fallback_tag(digest: str) -> str:
    """``sha256:…`` → ``sha256-…``."""
    return digest.replace(":", "-")


def _errors(answer: Answer) -> list[tuple[str, str]]:
    """Codes and messages of a refusal, if it is said as the specification says."""
    try:
        document = canonical.load(answer.document(1 << 16))
        return [(str(e.get("code", "")), str(e.get("message", ""))) for e in document["errors"]]
    except (Again, RegistryError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _reason(errors: Sequence[tuple[str, str]]) -> str:
    said = "; ".join(f"{code} {message}".strip() for code, message in errors)
    return f" ({said[:_SAID]})" if said else ""
