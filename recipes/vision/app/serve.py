"""A small HTTP server in front of the model: ``GET /healthz`` and ``POST /predict``."""

from __future__ import annotations

import json
import signal
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import TYPE_CHECKING, Any

from classifier import BadInputError, Classifier, SetupError, whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping

PATHS = {"/healthz": "GET", "/predict": "POST"}


class Server(ThreadingHTTPServer):
    """Knows the classifier; one thread for each connection."""

    daemon_threads = False  # a stopping server finishes the answers that it began

    def __init__(self, address: tuple[str, int], classifier: Classifier) -> None:
        super().__init__(address, Handler)
        self.classifier = classifier

    def server_bind(self) -> None:
        """Bind without asking a name server who we are: on a device there may be none."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]


class Handler(BaseHTTPRequestHandler):
    """One connection; every answer is a JSON object."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 5  # seconds that a client may be silent: a stuck one must not keep its thread

    def do_GET(self) -> None:
        """``/healthz``: the model is loaded, or this server would not be listening."""
        if self._known("GET"):
            self._send(HTTPStatus.OK, {"status": "ok"})

    def do_POST(self) -> None:
        """``/predict``: see `Classifier.answer`."""
        if not self._known("POST"):
            return
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal()):
            self._fail(HTTPStatus.LENGTH_REQUIRED, "Content-Length: expected a number of bytes")
        elif len(length) > 12 or int(length) > self.server.classifier.longest:
            limit = self.server.classifier.longest
            self._fail(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the limit is {limit} bytes")
        else:
            self._predict(self.rfile.read(int(length)))

    def _predict(self, question: bytes) -> None:
        try:
            answer = self.server.classifier.answer(question)
        except BadInputError as error:
            self._send(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        else:
            self._send(HTTPStatus.OK, answer)

    def _known(self, method: str) -> bool:
        allowed = PATHS.get(self.path)
        if allowed is None:
            self._fail(HTTPStatus.NOT_FOUND, f"no such path; there are {', '.join(PATHS)}")
        elif allowed != method:
            self._fail(HTTPStatus.METHOD_NOT_ALLOWED, f"use {allowed}")
        return allowed == method

    def _fail(self, status: HTTPStatus, message: str) -> None:
        """Refuse without reading the body, so nothing may follow on this connection."""
        self.close_connection = True
        self._send(status, {"error": message})

    def _send(self, status: HTTPStatus, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def run(environment: Mapping[str, str]) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        AppError: no usable model, or ``PORT`` is no port.
        OSError: the address cannot be bound.
    """
    classifier = Classifier.from_environment(environment)
    port = whole_number(environment, "PORT", 8080)
    if port > 65535:
        message = f"PORT: {port} is more than 65535"
        raise SetupError(message)
    host = environment.get("HOST", "0.0.0.0")  # noqa: S104 - a container's own network
    with Server((host, port), classifier) as server:

        def stop(_signal: int, _frame: object) -> None:
            # shutdown() waits for the loop that this very thread runs
            threading.Thread(target=server.shutdown).start()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        print(f"listening on {server.server_name}:{server.server_port}", flush=True)
        server.serve_forever(poll_interval=0.1)
