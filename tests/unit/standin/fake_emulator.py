"""Plays QEMU for the tests: sockets, pid file and daemon as the real one has them, no board in it.

Started as the machine's loader: ``fake --library-path DIR PROGRAM ARGUMENTS…``. As ``qemu-img`` it
makes an empty file. What it is told goes into ``said.jsonl`` in its folder. A file ``fail`` in the
library folder lets it refuse to start, with that file's text.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any


def main(words: list[str]) -> int:
    library, program, *rest = words[1:]
    if Path(program).name == "qemu-img":
        Path(rest[-1]).write_bytes(b"disk")
        return 0
    fail = Path(library) / "fail"
    if fail.exists():
        sys.stderr.write(fail.read_text())
        return 1
    folder = Path.cwd()
    servers = {name: socket.socket(socket.AF_UNIX) for name in ("qmp", "orders")}
    for name, server in servers.items():
        server.bind(name)
        server.listen()
    ssh = socket.create_server(("127.0.0.1", _port(rest)))
    ready, done = os.pipe()
    if os.fork():
        os.close(done)
        return 0 if os.read(ready, 1) else 1
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    pid = (folder / "pid").open("w")
    fcntl.lockf(pid, fcntl.LOCK_EX | fcntl.LOCK_NB)
    pid.write(f"{os.getpid()}\n")
    pid.flush()
    os.chdir("/")
    os.write(done, b"1")
    os.close(done)
    fake = Fake(folder)
    for target, server in (
        (fake.monitor, servers["qmp"]),
        (fake.orders, servers["orders"]),
        (fake.ssh, ssh),
    ):
        threading.Thread(target=_serve, args=(server, target), daemon=True).start()
    fake.ended.wait()
    (folder / "pid").unlink()
    os._exit(0)


def _port(words: list[str]) -> int:
    forward = next(word for word in words if "hostfwd=" in word)
    return int(forward.split("hostfwd=tcp:127.0.0.1:")[1].split("-")[0])


def _serve(server: socket.socket, target: Any) -> None:
    while True:
        link, _ = server.accept()
        with link:
            target(link)


class Fake:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ended = threading.Event()

    def note(self, kind: str, what: Any) -> None:
        with (self.folder / "said.jsonl").open("a") as stream:
            stream.write(json.dumps([kind, what]) + "\n")

    def monitor(self, link: socket.socket) -> None:
        link.sendall(b'{"QMP": {}}\n')
        for line in link.makefile("rb"):
            order = json.loads(line)
            self.note("monitor", order)
            link.sendall(b'{"event": "SOMETHING"}\n')
            name = order["execute"]
            answer: dict[str, Any] = {"return": {}}
            if name == "query-migrate":
                answer = {"return": {"status": "completed"}}
            elif name == "migrate":
                place = order["arguments"]["channels"][0]["addr"]["filename"]
                Path(place).write_bytes(b"memory")
            elif name == "object-del":
                answer = {"error": {"desc": "object 'slow' not found"}}
            link.sendall(json.dumps(answer).encode() + b"\n")

    def orders(self, link: socket.socket) -> None:
        link.sendall(b"late 0 \n")
        for line in link.makefile("rb"):
            words = line.decode().split()
            if len(words) != 2:
                continue
            script = base64.b64decode(words[1]).decode()
            self.note("order", script)
            if "poweroff" in script:
                self.ended.set()
                return
            status, said = (3, "no such thing") if "fail-please" in script else (0, "said")
            answer = base64.b64encode(said.encode()).decode()
            link.sendall(f"{words[0]} {status} {answer}\n".encode())

    def ssh(self, link: socket.socket) -> None:
        link.sendall(b"SSH-2.0-fake\r\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
