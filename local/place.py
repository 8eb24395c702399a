"""Where the storage host keeps its volumes: in an XFS image that it mounts, or as files in a folder.

The image has reflinks on every machine, and needs root with CAP_SYS_ADMIN and loop devices. The folder needs nothing.
Snapshots there are reflinks if the file system of the state folder has them. Otherwise they are copies, and the agent
refuses one of an attached volume. A state keeps the place that it began with.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

from local.settings import Refused

#: Programs of the storage host: in both places, and for the image.
PROGRAMS = ('tgtd', 'tgtadm', 'openssl')
IMAGE_PROGRAMS = ('mkfs.xfs', 'mount', 'losetup')

#: Where Debian has them, also for a user whose PATH does not.
PATH = f'{os.environ.get("PATH", "")}:/usr/sbin:/sbin'

#: Bit of CAP_SYS_ADMIN in a process's capabilities.
CAP_SYS_ADMIN = 1 << 21

#: Makes loop devices.
LOOP_CONTROL = Path('/dev/loop-control')

#: Size of the image: all pools, and what XFS needs for itself.
IMAGE_SIZE = '310G'

#: The image, and the folder, in the agent's folder.
IMAGE, FOLDER = 'store.img', 'store'


class Place(NamedTuple):
    """``name`` is IMAGE or FOLDER; ``obstacle`` is why it is not the image, '' for a state that began otherwise."""

    name: str
    obstacle: str = ''

    def option(self, folder: Path) -> str:
        """The agent's --store, in its folder."""
        return f'xfs-image:{folder / IMAGE}:{IMAGE_SIZE}' if self.name == IMAGE else f'dir:{folder / FOLDER}'


def choose(folder: Path, *, fresh: bool = False) -> Place:
    """Return the place for an agent's folder; ``fresh`` ignores its content. Raises Refused with advice."""
    obstacle = find_obstacle()
    stored = [] if fresh else [name for name in (IMAGE, FOLDER) if (folder / name).exists()]
    if stored == [IMAGE] and obstacle:
        raise Refused(
            f'{folder / IMAGE} holds the volumes, and cannot be mounted here ({obstacle}): start as root where the '
            'machine allows mounts, set another STATE_DIR, or start empty with FRESH=1'
        )
    place = Place(stored[0]) if stored else Place(FOLDER if obstacle else IMAGE, obstacle)
    for program in (*PROGRAMS, *(IMAGE_PROGRAMS if place.name == IMAGE else ())):
        if shutil.which(program, path=PATH) is None:
            raise Refused(f'{program} is missing, which the storage host needs: make setup installs it')
    return place


def find_obstacle() -> str:
    """Return what keeps this process from mounting an image, '' for nothing."""
    if os.geteuid() != 0:
        return 'not run as root'
    if not _effective_capabilities() & CAP_SYS_ADMIN:
        return 'no CAP_SYS_ADMIN, as in most containers'
    if not _is_first_namespace():
        return 'root of a user namespace only'
    if not os.access(LOOP_CONTROL, os.R_OK | os.W_OK):
        return f'no loop devices ({LOOP_CONTROL})'
    return ''


def _effective_capabilities() -> int:
    status = Path('/proc/self/status').read_text()
    return int(next(line for line in status.splitlines() if line.startswith('CapEff')).split()[1], 16)


def _is_first_namespace() -> bool:
    """Root elsewhere has capabilities, none of which is for the kernel's loop devices."""
    return Path('/proc/self/uid_map').read_text().split() == ['0', '0', str(2**32 - 1)]
