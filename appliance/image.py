"""An XFS image file with reflinks, mounted for this agent and its tgtd only.

The mount is in the agent's own mount namespace. However the agent ends, the kernel unmounts the image and frees the
loop device with the namespace's last process, even after SIGKILL.
"""

from __future__ import annotations

from pathlib import Path

from appliance import commands, kernel
from appliance.files import FileStore, put_in_place

#: The minimum of mkfs.xfs.
MIN_SIZE = 300 * 1024**2


class ImageStore(FileStore):
    def __init__(self, image: Path, size: int, mount_point: Path, pools: list[str]) -> None:
        """Create the image of ``size`` bytes unless it exists, and mount it. Raises ValueError, OSError."""
        if not image.exists():
            _make_image(image, size)
        self._mount_point = mount_point
        mount_point.mkdir(mode=0o700, parents=True, exist_ok=True)
        kernel.own_mounts()
        commands.run('mount', '--make-rslave', '/')  # unmounts of the host reach it; its own mount stays here
        # discard: the image gives the space of deleted volumes back to the file system under it
        # nouuid: an imported state and its original, with one UUID, may be mounted at the same time
        options = 'loop,noatime,nouuid,discard'
        commands.run('mount', '-t', 'xfs', '-o', options, str(image), str(mount_point))
        _write_directly(image)
        super().__init__(mount_point, pools)

    def close(self) -> None:
        """Unmount lazily, since a request may still be in progress."""
        commands.run('umount', '--lazy', str(self._mount_point))


def _make_image(image: Path, size: int) -> None:
    """Create a sparse file, and rename it when it is complete."""
    if size < MIN_SIZE:
        raise ValueError(f'an XFS image of {size} bytes is too small: use {MIN_SIZE} or more')
    image.parent.mkdir(parents=True, exist_ok=True)
    new = image.with_name(image.name + '.new')
    with new.open('wb') as file:
        file.truncate(size)
    commands.run('mkfs.xfs', '-q', '-f', '-m', 'reflink=1', str(new))
    put_in_place(new, image)


def _write_directly(image: Path) -> None:
    """Have the loop device of a mounted image pass the page cache.

    Through the cache, Linux 6.18 acknowledges a write of which a full file system took only the first part.
    """
    devices = commands.run('losetup', '--associated', str(image), '--noheadings', '--output', 'NAME').split()
    for device in devices:  # fails, without harm, on a file system that has no direct I/O (older tmpfs)
        commands.outcome(('losetup', '--direct-io=on', device))
