"""Several tools at once, ended together when the user interrupts."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def gather(tasks: Sequence[Callable[[], T]], *, width: int = 4) -> list[T]:
    """Run `tasks` in threads; their answers in the order of `tasks`.

    When one fails, those that have not begun are dropped, those that run come to their end, and
    the first error in the order of `tasks` is raised. On Ctrl-C the programs that the threads
    started are ended too, since they are in process groups of their own and do not see it.
    """
    threads: set[int] = set()

    def remember() -> None:
        threads.add(threading.get_native_id())

    pool = ThreadPoolExecutor(max_workers=width, initializer=remember)
    try:
        futures = [pool.submit(task) for task in tasks]
        wait(futures, return_when=FIRST_EXCEPTION)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        _end_children(threads)
        pool.shutdown(wait=True)
        raise
    pool.shutdown(wait=True, cancel_futures=True)
    for future in futures:
        if not future.cancelled() and (error := future.exception()) is not None:
            raise error
    return [future.result() for future in futures]


def _end_children(threads: set[int]) -> None:
    """End the programs that these threads of ours started (Linux: proc(5), ``children``)."""
    for thread in threads:
        with suppress(OSError):
            listed = Path(f"/proc/self/task/{thread}/children").read_text(encoding="ascii")
            for number in listed.split():
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(int(number), signal.SIGTERM)
