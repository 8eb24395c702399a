"""What a tenant may find: a call that returned has happened, a failed one may have."""

from __future__ import annotations

import dataclasses

from tests.system.clients import User

#: Place -> allowed values, 0 for an unwritten one.
Blocks = dict[int, set[int]]


class Doubt(Exception):
    """The request failed, and may have been carried out."""


class Refused(Exception):
    """The service refused the request: nothing was done."""


@dataclasses.dataclass(eq=False)
class Expected:
    """A resource: the client of its project, and the allowed values of size and data.

    ``blocks`` is None where the data is unknown. ``source``: the volume of a snapshot or backup, the group of a group
    snapshot. ``group``: the group or group snapshot that the resource is removed with.
    """

    user: User
    sizes: set[int]
    blocks: Blocks | None
    source: str = ''
    group: str = ''
    doubtful: bool = False
    gone: bool = False

    def merge(self, others: Blocks | None) -> None:
        """Allow other data too: an operation that replaces it may have happened."""
        if self.blocks is None or others is None:
            self.blocks = None
            return
        for place in self.blocks.keys() | others.keys():
            self.blocks[place] = self.blocks.get(place, {0}) | others.get(place, {0})


def copied(blocks: Blocks | None) -> Blocks | None:
    return None if blocks is None else {place: set(values) for place, values in blocks.items()}
