"""The bytes: disks of 512 KiB blocks in one sparse file. A copy of a disk shares its blocks until one is written."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Collection
from pathlib import Path
from typing import IO

#: Bytes of a block, the only size that the EBS direct APIs support.
BLOCK = 512 * 1024


class BlockFile:
    """Slots of one block each, counted by how many disks refer to them. Without a path its file has no name."""

    def __init__(self, path: Path | None = None) -> None:
        if path is not None:
            path.touch(mode=0o600)
        # It lives as long as its disks.
        self._file: IO[bytes] = path.open('r+b') if path else tempfile.TemporaryFile()  # noqa: SIM115
        self._users: dict[int, int] = {}
        self._free: list[int] = []
        #: The first slot that no disk has had.
        self._end = 0
        self.lock = threading.RLock()

    def read(self, slot: int) -> bytes:
        return os.pread(self._file.fileno(), BLOCK, slot * BLOCK)

    def store(self, data: bytes) -> int:
        """Write a block into a slot of its own."""
        slot = self._free.pop() if self._free else self._end
        self._end = max(self._end, slot + 1)
        self._users[slot] = 1
        os.pwrite(self._file.fileno(), data, slot * BLOCK)
        return slot

    def restore(self, slots: Collection[int]) -> None:
        """Count a stored disk's slots; those between that no disk refers to are free."""
        for slot in slots:
            self._users[slot] = self._users.get(slot, 0) + 1
        self._end = max(self._end, *(slot + 1 for slot in slots), 0)
        self._free = [slot for slot in range(self._end) if slot not in self._users]

    def sync(self) -> None:
        """Return when every block is on the disk of this machine."""
        os.fdatasync(self._file.fileno())

    def share(self, slot: int) -> int:
        self._users[slot] += 1
        return slot

    def drop(self, slot: int) -> None:
        self._users[slot] -= 1
        if not self._users[slot]:
            del self._users[slot]
            self._free.append(slot)

    @property
    def used(self) -> int:
        """Blocks that some disk refers to."""
        return len(self._users)


class Disk:
    """One volume's or snapshot's bytes; unwritten blocks read as zeroes."""

    def __init__(self, file: BlockFile) -> None:
        self._file = file
        self._slots: dict[int, int] = {}
        #: Indexes of blocks that were written or dropped since the disk was stored.
        self.unsaved: set[int] = set()

    def restore(self, slots: dict[int, int]) -> None:
        """Take stored blocks: {index: slot}."""
        self._slots = slots
        self._file.restore(slots.values())

    def slot(self, index: int) -> int | None:
        """Where a block is in the file."""
        return self._slots.get(index)

    def copy(self) -> Disk:
        """The same bytes as of now, in no time."""
        made = Disk(self._file)
        with self._file.lock:
            made._slots = {index: self._file.share(slot) for index, slot in self._slots.items()}
            made.unsaved = set(made._slots)
        return made

    def block(self, index: int) -> bytes | None:
        """A block's bytes, None for one that was never written."""
        with self._file.lock:
            slot = self._slots.get(index)
            return None if slot is None else self._file.read(slot)

    def put(self, index: int, data: bytes) -> None:
        with self._file.lock:
            before = self._slots.get(index)
            self._slots[index] = self._file.store(data)
            self.unsaved.add(index)
            if before is not None:
                self._file.drop(before)

    def written(self) -> list[int]:
        """Indexes of the blocks that were ever written, ascending."""
        with self._file.lock:
            return sorted(self._slots)

    def changed(self, since: Disk) -> list[int]:
        """Indexes of the blocks written after the other disk was the same, ascending."""
        with self._file.lock:
            either = self._slots.keys() | since._slots.keys()
            return sorted(index for index in either if self._slots.get(index) != since._slots.get(index))

    def read(self, offset: int, length: int) -> bytes:
        """Any range, as a guest reads it."""
        first, last = offset // BLOCK, (offset + length - 1) // BLOCK
        data = b''.join(self.block(index) or bytes(BLOCK) for index in range(first, last + 1))
        return data[offset - first * BLOCK :][:length]

    def write(self, offset: int, data: bytes) -> None:
        """Any range, as a guest writes it."""
        while data:
            index, within = divmod(offset, BLOCK)
            part = data[: BLOCK - within]
            old = self.block(index) or bytes(BLOCK)
            self.put(index, old[:within] + part + old[within + len(part) :])
            offset, data = offset + len(part), data[len(part) :]

    def drop(self) -> None:
        """Release every block."""
        with self._file.lock:
            for slot in self._slots.values():
                self._file.drop(slot)
            self.unsaved |= self._slots.keys()
            self._slots.clear()
