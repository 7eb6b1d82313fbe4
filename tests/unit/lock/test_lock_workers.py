from __future__ import annotations

import signal
import sys
import threading
import time
from functools import partial

import pytest

from buildkit.errors import FetchError, ToolError
from buildkit.lock import workers
from buildkit.run import run


def test_answers_keep_the_order_of_the_tasks() -> None:
    def slow(seconds: float, answer: int) -> int:
        time.sleep(seconds)
        return answer

    assert workers.gather([partial(slow, 0.02, 1), partial(slow, 0, 2)]) == [1, 2]
    assert workers.gather([]) == []


def test_the_first_error_in_order_is_raised_and_the_rest_dropped() -> None:
    ran: list[int] = []

    def fail(message: str) -> None:
        raise FetchError(message)

    with pytest.raises(FetchError, match="one"):
        workers.gather(
            [partial(fail, "one"), *[partial(ran.append, n) for n in range(50)]], width=1
        )
    assert len(ran) < 50


def test_an_interrupt_ends_the_programs_at_once() -> None:
    ended: list[str] = []

    def sleeper() -> None:
        try:
            run([sys.executable, "-c", "import time; time.sleep(60)"])
        except ToolError as error:
            ended.append(error.message)
            raise

    start = time.monotonic()
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        workers.gather([sleeper, sleeper])
    timer.join()
    assert time.monotonic() - start < 30
    assert len(ended) == 2
    assert all("signal 15" in message for message in ended)
