"""Memory that the C library keeps for the next step instead of giving it back to the system.

XLA on CPU asks for all temporary memory of a step in one piece and frees it at the end. glibc takes pieces
over 32 MB from the system each time, and returns them each time; the system then clears every page
anew as it is first touched. That was a third of a training step at width 128: 14,000 page faults in
each step of 100 ms, and none with the memory kept.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # parameters of mallopt(3), from malloc.h
_NEVER = -1


def keep_freed_memory() -> bool:
    """Have this process keep freed memory for itself; whether that could be arranged.

    The process then stays as large as it ever was. All threads share one heap, since only the main one
    can grow without limit. Call before threads are started, best before jax is imported. Does nothing
    where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_ARENA_MAX, 1))
    return all([mallopt(parameter, value) == 1 for parameter, value in settings])
