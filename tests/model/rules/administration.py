"""Requests of administrators only: statuses, removal by force, migration, quotas."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.model.reference.records import Backup, Snapshot, Volume
from tests.model.side import LIMITS, PATHS, PICK, PROJECTS, Request, Sides, action, has, precondition, rule
from tests.simulation import BIG, FAST

#: Statuses that an administrator gives a resource.
RESETS = {
    Volume: ('available', 'in-use', 'error', 'error_deleting', 'error_restoring'),
    Snapshot: ('available', 'error', 'error_deleting'),
    Backup: ('available', 'error'),
}


class AdminRules(Sides):
    @rule(weight=1, project=PROJECTS, name=st.sampled_from(sorted(LIMITS['a'])), limit=st.integers(-1, 20))
    def set_quota(self, project: str, name: str, limit: int) -> None:
        """An administrator changes a quota; not below what is used."""
        allowed = self.model.set_quota(project, name, limit)
        status = self.service.set_quota(project, {name: limit})
        self.counts[f'set quota {"accepted" if status < 300 else "refused"}'] += 1
        assert status in allowed, (name, limit, status)

    def _owned(self, at: int) -> Any:
        """A resource that an administrator may interfere with."""
        self.wait()
        records = [*self.model.volumes.values(), *self.model.snapshots.values(), *self.model.backups.values()]
        return self.pick([one for one in records if not self._is_bound(one)], at)

    @staticmethod
    def _is_bound(record: Volume | Snapshot | Backup) -> bool:
        """A part of a group snapshot, or a backup that is being restored: others' work would fail with it.

        Nor an object that could not be managed: a reset would call data ready that the service has not.
        """
        return (
            bool(getattr(record, 'group_snapshot', None))
            or record.status == 'restoring'
            or not getattr(record, 'managed', True)
        )

    @has('volumes')
    @rule(at=st.integers(0, 40), which=st.integers(0, 4), detached=st.booleans())
    def reset_status(self, at: int, which: int, detached: bool) -> None:
        record = self._owned(at)
        if record is None:
            return
        statuses = RESETS[type(record)]
        status = statuses[which % len(statuses)]
        if not record.whole:  # an administrator's reset does not make a stub's data complete
            status = 'error'
        facts: dict[str, Any] = {'status': status}
        if isinstance(record, Volume):
            detached = detached and status != 'in-use'
            facts |= {'attach_status': 'detached'} if detached else {}
            predict: Any = lambda _: self.model.reset_volume(record, status, detached)  # noqa: E731
        elif isinstance(record, Snapshot):
            predict = lambda _: self.model.reset_snapshot(record, status)  # noqa: E731
        else:
            predict = lambda _: self.model.reset_backup(record, status)  # noqa: E731
        self.explained.add(record.id)
        path = PATHS[type(record)]
        name = f'reset {path.removesuffix("s")}'
        self.play(action(name, record.project, f'/{path}/{record.id}', 'os-reset_status', facts, predict, admin=True))

    @has('volumes')
    @rule(weight=1, at=st.integers(0, 40))
    def force_delete(self, at: int) -> None:
        self._force(self._owned(at))

    def _force(self, record: Any) -> None:
        if record and not (isinstance(record, Snapshot) and record.status == 'deleting'):  # it may go with its volume
            predict: Any = {
                Volume: lambda _: self.model.delete_volume(record, False, force=True),
                Snapshot: lambda _: self.model.delete_snapshot(record, force=True),
                Backup: lambda _: self.model.delete_backup(record, force=True),
            }[type(record)]
            path = PATHS[type(record)]
            name, url = f'force-delete {path.removesuffix("s")}', f'/{path}/{record.id}'
            self.play(action(name, record.project, url, 'os-force_delete', {}, predict, admin=True))

    @precondition(lambda self: self.model.entangled())
    @rule(weight=8, at=PICK, force=st.booleans())
    def delete_what_others_need(self, at: int, force: bool) -> None:
        """A volume or snapshot that is read, attached, moved or offered, or that is in a group."""
        self.wait()
        record = self.pick(self.model.entangled(), at)
        if record and force:
            self._force(record)
        elif record:
            path = PATHS[type(record)]
            predict: Any = {
                Volume: lambda _: self.model.delete_volume(record, False),
                Snapshot: lambda _: self.model.delete_snapshot(record),
            }[type(record)]
            name = f'delete {path.removesuffix("s")}'
            self.play(Request(name, record.project, 'DELETE', f'/{path}/{record.id}', predict))

    @has('volumes')
    @rule(at=PICK, to=st.sampled_from([FAST, BIG]), lock=st.booleans())
    def migrate(self, at: int, to: str, lock: bool) -> None:
        if volume := self.pick(self.model.volumes, at):
            elsewhere = self.service.backend_of(volume.id) != to.partition('#')[0]
            facts = {'host': to, 'lock_volume': lock}
            predict = lambda _: self.model.migrate(volume, elsewhere, lock)  # noqa: E731
            self.act(volume, 'migrate', 'os-migrate_volume', facts, predict, admin=True)
