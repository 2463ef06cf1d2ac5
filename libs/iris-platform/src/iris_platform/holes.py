"""Giving the beginning of a file back to the disk while its end is still written.

Linux only, and not on every file system. Standard library only; knows nothing
of logs.
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from typing import Any

# Holes begin and end on multiples of this on every file system and page size that we know of.
ALIGN_BYTES = 64 * 1024

# From linux/falloc.h.
_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02


def punch_hole(fd: int, begin: int, end: int) -> bool:
    """Give the bytes from `begin` to `end` back; they read as zeros, offsets stay as they were.

    Returns:
        False where the file system cannot: nothing was done.

    Raises:
        OSError: it can, and did not.
    """
    fallocate = _fallocate()
    while True:
        if fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, begin, end - begin) == 0:
            return True
        number = ctypes.get_errno()
        if number in (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV):
            return False
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def data_begin(fd: int) -> int:
    """Where the first byte is that is not in a hole; the file's length if all of it is.

    0 on a file system that cannot tell.
    """
    try:
        return os.lseek(fd, 0, os.SEEK_DATA)
    except OSError as error:
        return os.fstat(fd).st_size if error.errno == errno.ENXIO else 0


@cache
def _fallocate() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    # Some libraries have the one with 64-bit offsets under its own name only where the other differs.
    function = libc.fallocate64 if hasattr(libc, "fallocate64") else libc.fallocate
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    function.restype = ctypes.c_int
    return function
