"""Attachments in the reference: the attachments API, and the actions by which Nova attached before it."""

from __future__ import annotations

from tests.model.reference.core import codes
from tests.model.reference.records import CONFLICT, INVALID, Accept, Attachment, Codes, Volume
from tests.model.reference.volumes import Volumes

#: Statuses that follow from attachments, and those in which that waits for the end of what is under way.
HELD = ('retyping', 'backing-up', 'extending')
FOLLOWING = ('available', 'reserved', 'attaching', 'in-use', 'detaching')


class Attaching(Volumes):
    def attachments(self) -> list[tuple[Volume, Attachment]]:
        return [(one, held) for one in self.volumes.values() for held in one.attachments.values()]

    def create_attachment(self, volume: Volume, server: str, host: str | None) -> tuple[Codes, Accept]:
        """``host``: that of the connector; None: the volume is only reserved.

        Another attachment needs a volume that several may attach, or the same server (as Nova moves it to a host).
        """
        usual = volume.status in ('available', *(('in-use',) if volume.multiattach else ()))
        again = volume.status in ('in-use', 'reserved') and server in {
            one.server for one in volume.attachments.values()
        }

        def accept(id: str) -> None:
            status = 'attaching' if host else 'reserved'
            volume.attachments[id] = Attachment(id, status, server, host, connected=host is not None)
            volume.status = status if usual or host else volume.status

        return codes(200, (not (usual or again) or volume.moving, INVALID)), accept

    def connect_attachment(self, volume: Volume, attachment: Attachment, host: str) -> Codes:
        others = {one.host for one in volume.attachments.values() if one is not attachment}
        refused = codes(
            200,
            ('error' in volume.status, CONFLICT),
            (self._is_not_exportable(volume), INVALID),
            (not volume.multiattach and host in others, CONFLICT),
        )
        if 200 in refused:
            attachment.status, attachment.host, attachment.connected = 'attaching', host, True
            self._follow(volume, 'attaching')
        return refused

    def complete_attachment(self, volume: Volume, attachment: Attachment) -> Codes:
        """The same again changes nothing."""
        if attachment.status != 'attached':
            attachment.status = 'attached'
            self._follow(volume, 'in-use')
        return frozenset({204})

    def delete_attachment(self, volume: Volume, attachment: Attachment) -> Codes:
        if not self.orphans.pop(attachment.id, None):
            del volume.attachments[attachment.id]
            self._follow(volume, self.rest(volume))
        return frozenset({200})

    def _follow(self, volume: Volume, status: str) -> None:
        """Give a volume this status, unless a job has it: the job's end does so then."""
        if volume.status in FOLLOWING or 'error' in volume.status:
            volume.status = status
        elif volume.status in HELD:
            volume.before = status

    # Attachments as Nova made them before the attachments API

    def reserve(self, volume: Volume) -> Codes:
        allowed = ('available', 'in-use') if volume.multiattach else ('available',)
        if volume.status not in allowed or volume.moving:
            return frozenset({INVALID})
        volume.status = 'attaching'
        return frozenset({202})

    def unreserve(self, volume: Volume) -> Codes:
        if volume.status == 'attaching':
            volume.status = 'in-use' if volume.attachments else 'available'
        return frozenset({202})

    def initialize_connection(self, volume: Volume) -> Codes:
        return frozenset({INVALID} if self._is_not_exportable(volume) else {200})

    def _is_not_exportable(self, volume: Volume) -> bool:
        """While the data is made, replaced, moved, removed or offered (Cinder: in maintenance alone)."""
        made = (
            'creating',
            'restoring-backup',
            'reverting',
            'awaiting-transfer',
            'deleting',
            'maintenance',
            'unmanaging',
        )
        moved = volume.status == 'retyping' and not volume.attachments
        return volume.status in made or moved or volume.moving or not volume.placed

    def attach(self, volume: Volume, server: str) -> tuple[Codes, Accept]:
        """The same server again changes nothing."""
        held = volume.status == 'in-use' and (server, None) in {
            (one.server, one.host) for one in volume.attachments.values()
        }
        allowed = ('available', 'attaching', 'reserved', *(('in-use',) if volume.multiattach else ()))

        def accept(id: str) -> None:
            volume.attachments[id] = Attachment(id, 'attached', server, connected=True)
            volume.status = 'in-use'

        return codes(202, (not held and (volume.status not in allowed or volume.moving), INVALID)), accept

    def begin_detaching(self, volume: Volume) -> Codes:
        attached = self._attach_status(volume) == 'attached'
        if volume.status != 'in-use' or not attached or volume.moving:
            return frozenset({INVALID})
        volume.status = 'detaching'
        return frozenset({202})

    def roll_detaching(self, volume: Volume) -> Codes:
        volume.status = 'in-use' if volume.status == 'detaching' else volume.status
        return frozenset({202})

    def detach(self, volume: Volume, attachment: Attachment) -> Codes:
        if volume.status == 'maintenance':
            return frozenset({INVALID})
        self.delete_attachment(volume, attachment)
        return frozenset({202})
