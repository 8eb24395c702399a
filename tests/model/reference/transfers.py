"""Offers of a volume to another project, in the reference."""

from __future__ import annotations

import collections

from tests.model.reference.core import Core, codes, per_type
from tests.model.reference.records import INVALID, OVER_QUOTA, Codes, Transfer, Volume


class Transfers(Core):
    def offer(self, volume: Volume, made: dict[str, str] | None) -> Codes:
        """``made``: the offer in the answer, with its key."""
        whole = all(one.status == 'available' and not one.group_snapshot for one in self.snapshots_of(volume))
        if volume.status != 'available' or not whole or volume.group or volume.moving or volume.attachments:
            return frozenset({INVALID})
        if made:
            self.transfers[made['id']] = Transfer(made['id'], volume.project, volume.id, made['auth_key'])
            volume.status, volume.offer = 'awaiting-transfer', made['id']
        return frozenset({202})

    def withdraw(self, transfer: Transfer) -> Codes:
        del self.transfers[transfer.id]
        volume = self.volumes.get(transfer.volume)
        if volume and self._is_on_offer(volume, transfer):
            volume.status = 'available'
        return frozenset({202})

    @staticmethod
    def _is_on_offer(volume: Volume, transfer: Transfer) -> bool:
        return volume.status == 'awaiting-transfer' and volume.offer == transfer.id

    def accept(self, project: str, transfer: Transfer, key: str) -> Codes:
        if key != transfer.key:
            return frozenset({INVALID})
        volume = self.volumes[transfer.volume]
        snapshots = self.snapshots_of(volume)
        wanted: collections.Counter[str] = collections.Counter(per_type('volumes', volume.size, volume.type))
        for one in snapshots:
            wanted.update(per_type('snapshots', one.size, one.type))
        allowed = codes(
            202,
            (volume.readers > 0 or not self._is_on_offer(volume, transfer), INVALID),
            (any(one.readers or one.status != 'available' for one in snapshots), INVALID),
            (project != volume.project and self.exceeds(project, wanted), OVER_QUOTA),
        )
        if 202 in allowed:
            del self.transfers[transfer.id]
            for record in [volume, *snapshots]:
                record.project = project
            volume.status = 'available'
        return allowed
