"""Making the next items while the last is used."""

import queue
import threading
from collections.abc import Callable, Generator
from typing import TypeVar

Item = TypeVar("Item")


def prefetched(
    make: Callable[[int], Item], first: int, *, ahead: int
) -> Generator[Item, None, None]:
    """`make(first)`, `make(first + 1)` and so on without end, up to `ahead` of them in advance.

    They are made in one thread, which begins with the first item that is asked for and ends when
    the generator is closed. What `make` raises is raised to who asks for that item.
    """
    ready: queue.Queue[tuple[Item | None, Exception | None]] = queue.Queue(ahead)
    closed = threading.Event()

    def work() -> None:
        number = first
        while not closed.is_set():
            try:
                result = make(number), None
            except Exception as error:
                result = None, error
            ready.put(result)
            if result[1] is not None:
                return
            number += 1

    thread = threading.Thread(target=work, name="prefetched", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            yield item  # pyright: ignore[reportReturnType]
    finally:
        closed.set()
        while thread.is_alive():
            _empty(ready)  # makes room for what the thread is about to put
            thread.join(timeout=0.02)


def _empty(ready: queue.Queue) -> None:
    try:
        while True:
            ready.get_nowait()
    except queue.Empty:
        return
