"""Locks on files, which the system gives back when a process ends, however it ends."""

from __future__ import annotations

import sys

__all__ = ["try_lock"]


def try_lock(file: int, shared: bool = False) -> bool:
    """Lock an open file without waiting; false where another has it.

    Parameters
    ----------
    file
        Its descriptor, open for reading and writing; closing it gives the lock back.
    shared
        Whether others may have a shared lock at the same time (not on Windows).
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
