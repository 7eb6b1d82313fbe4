"""Several transfers at once, ended together when one fails or the user interrupts."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, TypeVar

from buildkit.registry.patience import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

WIDTH = 8
_FAREWELL_S = 2.0


def gather(
    tasks: Sequence[Callable[[], T]], stop: threading.Event, *, width: int = WIDTH
) -> list[T]:
    """Run `tasks` in threads; their answers in the order of `tasks`.

    The first that fails sets `stop`, which the others look at. Threads that hang on a dead line
    are left behind after a moment: they are daemons, and what they hold is theirs alone.

    Raises:
        BaseException: the first error of a task.
    """
    waiting: queue.SimpleQueue[tuple[int, Callable[[], T]]] = queue.SimpleQueue()
    for numbered in enumerate(tasks):
        waiting.put(numbered)
    answers: dict[int, T] = {}
    errors: list[BaseException] = []
    threads = [
        threading.Thread(target=_work, args=(waiting, answers, errors, stop), daemon=True)
        for _ in range(min(width, len(tasks)))
    ]
    for thread in threads:
        thread.start()
    try:
        _wait(threads, stop)
    except BaseException:
        stop.set()
        _wait(threads, stop)
        raise
    for error in errors:
        if not isinstance(error, Stopped):
            raise error
    if len(answers) != len(tasks):
        raise Stopped
    return [answers[number] for number in range(len(tasks))]


def _work(
    waiting: queue.SimpleQueue[tuple[int, Callable[[], T]]],
    answers: dict[int, T],
    errors: list[BaseException],
    stop: threading.Event,
) -> None:
    while not stop.is_set():
        try:
            number, task = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            answers[number] = task()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            errors.append(error)
            stop.set()


def _wait(threads: Sequence[threading.Thread], stop: threading.Event) -> None:
    """For all; once they are told to stop, only a moment more."""
    for thread in threads:
        while thread.is_alive() and not stop.is_set():
            thread.join(0.1)
    for thread in threads:
        thread.join(_FAREWELL_S / len(threads))
