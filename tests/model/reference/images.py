"""Images in the reference: volumes that become images."""

from __future__ import annotations

import copy

from tests.model.reference.core import Core, codes
from tests.model.reference.records import INVALID, Accept, Codes, Image, Job, Volume


class Images(Core):
    def upload(self, volume: Volume) -> tuple[Codes, Accept]:
        """A volume that is migrated without a lock leaves its migration."""
        allowed = codes(202, (volume.status != 'available', INVALID))

        def accept(id: str) -> None:
            self.end_move(volume)
            image = self.images[id] = Image(id, volume.project, volume.size)
            volume.before, volume.status, volume.upload = volume.status, 'uploading', id

            def done() -> None:
                image.status, image.content = 'active', copy.copy(volume.content)
                end()

            def fail() -> None:
                cancel()
                end()

            def end() -> None:
                volume.status = volume.before

            def cancel() -> None:
                self.images.pop(id, None)

            self.jobs.append(Job(volume, done, fail, cancel, late=True))

        return allowed, accept
