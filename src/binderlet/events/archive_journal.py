"""Lines in a memory-mapped file: what was put there outlives this process, however it ends, without any disk I/O.

The pages of a mapped file belong to the kernel, so ``kill -9`` right after ``put`` loses nothing; a power cut may lose
what the kernel has not written yet. The file starts with eight bytes of name and eight bytes of length; the length is
written after the lines, so a line is in the journal whole or not at all.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

MAGIC = b"blevent1"
HEADER = 16
SIZE = 1024**2
"""Bytes of the file: room for about two thousand launches that the disk has not taken yet."""


class Journal:
    """The file ``path``; one process at a time. ``put`` and ``clear`` touch memory alone; making one does disk I/O.

    Raises:
        OSError: the file cannot be made, or the disk has no room for it.
    """

    def __init__(self, path: Path, size: int = SIZE) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Without the disk blocks, a full disk would end the process at the first write.
            os.posix_fallocate(fd, 0, size)
            self._map = mmap.mmap(fd, size)
        finally:
            os.close(fd)
        if self._map[: len(MAGIC)] != MAGIC or not HEADER <= self._end() <= size:
            self._set_end(HEADER)
            self._map[: len(MAGIC)] = MAGIC

    def put(self, line: bytes) -> bool:
        """Keep a line that ends in a line end; False where there is no room."""
        end = self._end()
        after = end + len(line)
        if after > len(self._map):
            return False
        self._map[end:after] = line
        self._set_end(after)
        return True

    def lines(self) -> list[bytes]:
        """Give what was put and not cleared, by whichever process."""
        return self._map[HEADER : self._end()].splitlines(keepends=True)

    def clear(self) -> None:
        """Forget everything: it is safe elsewhere."""
        self._set_end(HEADER)

    def close(self) -> None:
        """Let go of the file, and leave what is in it. Idempotent."""
        self._map.close()

    def _end(self) -> int:
        (end,) = struct.unpack_from("<Q", self._map, len(MAGIC))
        return int(end)

    def _set_end(self, end: int) -> None:
        struct.pack_into("<Q", self._map, len(MAGIC), end)
