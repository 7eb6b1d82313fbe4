"""The app inside the example images: the real server on loopback, the real command line."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

RECIPES = Path(__file__).parents[3] / "recipes"
APP = RECIPES / "digits" / "app"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """(batch, 2, 2) to three scores: the sums of the first column, of the second, and 0."""
    weights = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0]], dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["input"], ["flat"], axis=1),
            helper.make_node("MatMul", ["flat", "weights"], ["scores"]),
        ],
        "sums",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 2, 2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 3])],
        initializer=[numpy_helper.from_array(weights, "weights")],
    )
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


def command(*words: str) -> list[str]:
    return [sys.executable, "-B", str(APP / "main.py"), *words]


def environment(model: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "MODEL": str(model), "THREADS": "1", **more}


def infer(model: Path, question: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("infer", *words),
        input=question,
        env=environment(model, **more),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


class Running:
    """A server that was started, and a way to ask it."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def predict(self, value: Any) -> tuple[int, Any]:
        return self.ask("POST", "/predict", json.dumps(value))


@contextmanager
def running(model: Path) -> Iterator[Running]:
    with subprocess.Popen(
        command("serve"),
        env=environment(model, HOST="127.0.0.1", PORT="0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on 127.0.0.1:"), line
            yield Running(process, int(line.rpartition(":")[2]))
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Running]:
    with running(model) as started:
        yield started


def test_a_running_server_is_healthy(server: Running) -> None:
    assert server.ask("GET", "/healthz") == (200, {"status": "ok"})


def test_the_largest_score_is_the_label(server: Running) -> None:
    assert server.predict({"input": [[1, 2], [3, 4.5]]}) == (
        200,
        {"label": 1, "scores": [4.0, 6.5, 0.0]},
    )


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("[" * 1100, "not JSON"),
        (b'{"input": "\xff"}', "not JSON"),
        ("[1]", 'the key "input"'),
        ('{"inputs": [[1, 2], [3, 4]]}', 'the key "input"'),
        ('{"input": 1}', "shape [], expected [2, 2]"),
        ('{"input": [[1, 2, 3], [4, 5, 6]]}', "shape [2, 3], expected [2, 2]"),
        ('{"input": [[1, 2], [3]]}', "lists of different lengths, expected shape [2, 2]"),
        ('{"input": [["1", "2"], ["3", "4"]]}', "numbers only"),
        ('{"input": [[true, false], [true, false]]}', "numbers only"),
        ('{"input": [[null, 2], [3, 4]]}', "numbers only"),
        ('{"input": [[1, 2], [3, 100000000000000000000000]]}', "numbers only"),
        ('{"input": [[1, 2], [3, NaN]]}', "finite"),
        ('{"input": [[1, 2], [3, Infinity]]}', "finite"),
        ('{"input": [[1, 2], [3, 1e39]]}', "finite"),
    ],
)
def test_a_bad_question_gets_400_and_its_reason(
    server: Running, question: bytes | str, says: str
) -> None:
    status, answer = server.ask("POST", "/predict", question)
    assert status == 400
    assert says in answer["error"]


def test_a_question_too_long_to_be_right_is_refused_unread(server: Running) -> None:
    status, answer = server.ask("POST", "/predict", b"", {"Content-Length": "99999999999"})
    assert status == 413
    assert "bytes" in answer["error"]


@pytest.mark.parametrize("length", ["-1", "ten", "", "1_0"])
def test_a_length_that_is_no_number_is_refused(server: Running, length: str) -> None:
    assert server.ask("POST", "/predict", b"", {"Content-Length": length})[0] == 411


def test_other_paths_and_methods_are_named(server: Running) -> None:
    assert server.ask("GET", "/") == (404, {"error": "no such path; there are /healthz, /predict"})
    assert server.ask("GET", "/predict") == (405, {"error": "use POST"})
    assert server.ask("POST", "/healthz", "{}") == (405, {"error": "use GET"})


def test_one_connection_asks_twice(server: Running) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    for first in (5, -5):
        connection.request("POST", "/predict", json.dumps({"input": [[first, 1], [0, 0]]}))
        answer = json.loads(connection.getresponse().read())
        assert answer["scores"] == [first, 1.0, 0.0]
    connection.close()


def test_sigterm_ends_it_well_even_with_a_silent_client(model: Path) -> None:
    with running(model) as started, socket.create_connection(("127.0.0.1", started.port)):
        assert started.ask("GET", "/healthz")[0] == 200
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(timeout=120) == 0


def test_a_taken_port_is_said(model: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            command("serve"),
            env=environment(model, HOST="127.0.0.1", PORT=port),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("serve: ")
    assert "Traceback" not in done.stderr


def test_infer_reads_standard_input_or_a_file(model: Path, tmp_path: Path) -> None:
    question = '{"input": [[0, 0], [-1, -2]]}'
    file = tmp_path / "question.json"
    file.write_text(question)
    for done in (infer(model, question), infer(model, question, "-"), infer(model, "", str(file))):
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"label": 2, "scores": [-1.0, -2.0, 0.0]}


@pytest.mark.parametrize(
    ("changes", "words", "says"),
    [
        ({"MODEL": "/nowhere/model.onnx"}, (), "/nowhere/model.onnx: no such model; mount it"),
        ({"MODEL": __file__}, (), "test_recipe_app.py: "),
        ({"THREADS": "many"}, (), "THREADS: expected a whole number, found 'many'"),
        ({}, ("no-such-file.json",), "no-such-file.json"),
    ],
)
def test_infer_says_what_is_wrong_in_one_line(
    model: Path, changes: dict[str, str], words: tuple[str, ...], says: str
) -> None:
    done = infer(model, "{}", *words, **changes)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("infer: ")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [(), ("train",), ("serve", "more"), ("infer", "a", "b")])
def test_wrong_words_get_the_usage(model: Path, words: tuple[str, ...]) -> None:
    done = subprocess.run(
        command(*words),
        env=environment(model),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("usage: main.py")


def test_telemetry_is_off(model: Path, tmp_path: Path) -> None:
    # A CI variable alone would switch it off as well: take such out, so that only the app can.
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MODEL": str(model)}
    subprocess.run(
        command("infer"), env=clean, input=b'{"input": [[1, 2], [3, 4]]}', timeout=300, check=True
    )
    assert list(tmp_path.iterdir()) == []


def test_both_recipes_carry_the_same_app_and_helper() -> None:
    for file in [*sorted(APP.iterdir()), APP.parent / "exact.py"]:
        if file.is_file():
            twin = RECIPES / "vision" / file.relative_to(RECIPES / "digits")
            assert twin.read_bytes() == file.read_bytes(), twin
