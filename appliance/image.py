"""An XFS image file with reflinks, mounted for this agent and its tgtd alone.

The mount lives in a mount namespace of the agent's own. However the agent ends, the kernel unmounts the image and
frees the loop device when the last process in it is gone: nothing is left behind, not even by SIGKILL.
"""

from __future__ import annotations

from pathlib import Path

from appliance import commands, kernel
from appliance.files import FileStore, put_in_place

#: mkfs.xfs refuses less.
MIN_SIZE = 300 * 1024**2


class ImageStore(FileStore):
    def __init__(self, image: Path, size: int, mount_point: Path, pools: list[str]) -> None:
        """Make the image of ``size`` bytes unless it exists, and mount it. Raises ValueError, OSError."""
        if not image.exists():
            _make_image(image, size)
        self._mount_point = mount_point
        mount_point.mkdir(mode=0o700, parents=True, exist_ok=True)
        kernel.own_mounts()
        commands.run('mount', '--make-rslave', '/')  # unmounts of the host reach it; its own mount stays here
        commands.run('mount', '-t', 'xfs', '-o', 'loop,noatime', str(image), str(mount_point))
        super().__init__(mount_point, pools)

    def close(self) -> None:
        """Unmount; lazily, since a request may be at work still."""
        commands.run('umount', '--lazy', str(self._mount_point))


def _make_image(image: Path, size: int) -> None:
    """A sparse file, complete before it has its name."""
    if size < MIN_SIZE:
        raise ValueError(f'an XFS image of {size} bytes is too small: give {MIN_SIZE} or more')
    image.parent.mkdir(parents=True, exist_ok=True)
    new = image.with_name(image.name + '.new')
    with new.open('wb') as file:
        file.truncate(size)
    commands.run('mkfs.xfs', '-q', '-f', '-m', 'reflink=1', str(new))
    put_in_place(new, image)
