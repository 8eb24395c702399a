"""Outcomes of work on a volume: the final status, and what becomes of what the work has reserved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

from chalicelib.models import Snapshot, Volume
from chalicelib.rules.states import PREVIOUS, REMOVED


class Outcome(NamedTuple):
    """How work on a volume ends: the status, and what becomes of what the work has reserved. Use a named one.

    ``status``: a status, PREVIOUS or REMOVED. ``keep_gb``: GiB that stay claimed on the pool; None: the whole claim.
    ``in_transit``: the claim stays in transit, as it is unknown what the backend has freed. ``data_stays``: what is no
    longer claimed is still used on the backend. ``grown``, ``retyped``: the quota that an extension or retype reserved
    becomes the volume's, instead of being released. ``uncounted``: the quota is released though the record stays.
    ``following``: snapshots that take over the retyped volume's type.
    """

    status: str
    keep_gb: int | None = None
    in_transit: bool = False
    data_stays: bool = False
    grown: bool = False
    retyped: bool = False
    uncounted: bool = False
    following: Sequence[Snapshot] = ()

    @classmethod
    def ended(cls, status: str = PREVIOUS) -> Self:
        """The claim stays; everything else that was reserved is released."""
        return cls(status)

    @classmethod
    def removed(cls) -> Self:
        """The record is removed, with its claim and its quota."""
        return cls(REMOVED)

    @classmethod
    def removal_failed(cls, status: str) -> Self:
        """The object may be there or not: the claim stays in transit."""
        return cls(status, in_transit=True)

    @classmethod
    def unmanaged(cls) -> Self:
        """The record is removed with its quota; the object stays and keeps its capacity."""
        return cls(REMOVED, data_stays=True)

    @classmethod
    def management_failed(cls, status: str) -> Self:
        """The record stays without claim and quota; so does the object, which was there before."""
        return cls(status, keep_gb=0, data_stays=True, uncounted=True)

    @classmethod
    def extended(cls, reported_gb: int | None = None) -> Self:
        """The reserved quota is the volume's. ``reported_gb``: a size that the pool's report counts already."""
        return cls(PREVIOUS, keep_gb=reported_gb, data_stays=reported_gb is not None, grown=True)

    @classmethod
    def not_extended(cls, volume: Volume, status: str = PREVIOUS) -> Self:
        """The claim is the volume's size."""
        return cls(status, keep_gb=int(volume.size))

    @classmethod
    def retyped_with(cls, snapshots: Sequence[Snapshot]) -> Self:
        """Volume and snapshots count as the new type's."""
        return cls(PREVIOUS, retyped=True, following=snapshots)

    @property
    def is_removal(self) -> bool:
        return self.status == REMOVED

    def kept_gb(self, volume: Volume) -> int:
        """Return the GiB that the volume keeps of its pool."""
        if self.is_removal:
            return 0
        return int(volume.claimed_gb or 0) if self.keep_gb is None else self.keep_gb
