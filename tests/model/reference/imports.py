"""Backup records in the reference: exported, and imported again, also as a second record of the same data."""

from __future__ import annotations

from tests.model.reference.core import Core, codes
from tests.model.reference.records import INVALID, NO_VOLUME, OVER_QUOTA, Accept, Backup, Codes, Exported, Job


class Imports(Core):
    def export(self, backup: Backup) -> Codes:
        return codes(200, (backup.status != 'available', INVALID))

    def import_record(self, project: str, record: Exported, id: str) -> tuple[Codes, Accept]:
        """``id``: the one in the record; another than the backup's makes a second record of it."""
        wanted = {'backups': 1, 'backup_gigabytes': record.size}
        allowed = codes(201, (id in self.backups, INVALID), (self.exceeds(project, wanted), OVER_QUOTA))

        def accept(made: str) -> None:
            backup = self.backups[made] = Backup(made, project, NO_VOLUME, record.size, stored=record.stored)
            backup.is_second, backup.is_import = made != record.stored.id, True

            def done() -> None:
                if not record.stored.is_kept:
                    return fail()
                backup.status, backup.content, backup.whole = 'available', record.content, True
                backup.metadata, backup.parent = dict(record.metadata), record.parent
                return None

            def fail() -> None:
                backup.status = 'error'

            self.jobs.append(Job(backup, done, fail))

        return allowed, accept
