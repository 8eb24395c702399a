"""The entries of docs/how-to/runbooks.md, and resources in the statuses that they are for."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chalicelib.models import Backup, Group, GroupSnapshot, Snapshot, Volume
from tests.system import crash
from tests.system.clients import User, unique, until
from tests.system.cloud import Cloud

PAGE = Path(__file__).parents[2] / 'docs' / 'how-to' / 'runbooks.md'

#: Resource -> its records, and the variable that has its id in the commands.
KINDS: Mapping[str, tuple[type[Any], str]] = {
    'volume': (Volume, 'VOLUME'), 'snapshot': (Snapshot, 'SNAPSHOT'), 'backup': (Backup, 'BACKUP'),
    'group': (Group, 'GROUP'), 'group_snapshot': (GroupSnapshot, 'GROUP_SNAPSHOT'),
}  # fmt: skip


def entries(section: str) -> dict[str, str]:
    """Return the entries of a section: heading -> text."""
    text = PAGE.read_text().partition(f'\n## {section}\n')[2].partition('\n## ')[0]
    parts = re.split(r'^### (.+)$', text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(text: str) -> str:
    """Return the commands of a text, as they are written."""
    return '\n'.join(re.findall(r'```sh\n(.*?)```', text, re.DOTALL))


def introduction(before: str) -> str:
    """Return the text before the first entry of a section."""
    return PAGE.read_text().partition(f'\n## {before}\n')[2].partition('\n### ')[0]


class Resources:
    """Makes resources of demo in a status: by requests where clients set it, else in the record."""

    def __init__(self, cloud: Cloud, user: User, admin: User) -> None:
        self.cloud, self.user, self.admin = cloud, user, admin

    def make(self, resource: str, status: str) -> dict[str, str]:
        """Return the variables of the commands."""
        if (resource, status) in self._by_requests():
            return {'VOLUME': self._by_requests()[resource, status]()}
        made: dict[str, str] = getattr(self, f'_{resource}')()
        if status == 'error_restoring':
            made['BACKUP'] = self._backup_of(made['VOLUME'])
        kind, variable = KINDS[resource]
        with crash.records_of(self.cloud):
            kind.find_anywhere(made[variable]).update(actions=[kind.status.set(status)])
        return made

    def status(self, resource: str, id: str) -> str:
        """Return the status once nothing is in progress; 'deleted' without a record."""
        kind, _ = KINDS[resource]

        def look() -> str:
            with crash.records_of(self.cloud):
                found = [one.status for one in kind.scan(kind.id == id, consistent_read=True)]
            status = str(found[0]) if found else 'deleted'
            return '' if crash.is_transitional(status) and status != 'reverting' else status

        return str(until(look))

    def remove_groups(self) -> None:
        """Remove the project's groups with their volumes."""
        groups = self.user.cinder.groups
        for group in groups.list():
            groups.delete(group.id, delete_volumes=True)
        until(lambda: not groups.list())

    def _by_requests(self) -> Mapping[tuple[str, str], Callable[[], str]]:
        return {
            ('volume', 'reserved'): self._reserved,
            ('volume', 'attaching'): self._attaching,
            ('volume', 'detaching'): self._detaching,
            ('volume', 'awaiting-transfer'): self._offered,
        }

    def _reserved(self) -> str:
        id: str = self.user.volume().id
        self.user.cinder.attachments.create(id, None, str(uuid.uuid4()))
        return id

    def _attaching(self) -> str:
        id: str = self.user.volume().id
        self.user.cinder.volumes.reserve(id)
        return id

    def _detaching(self) -> str:
        id: str = self.user.volume().id
        connector = {'host': 'compute-1', 'initiator': 'iqn.2004-10.com.example:runbook', 'ip': '127.0.0.1'}
        made = self.user.cinder.attachments.create(id, connector, str(uuid.uuid4()), 'rw')
        self.user.cinder.attachments.complete(made['id'])
        self.user.cinder.volumes.begin_detaching(id)
        return id

    def _offered(self) -> str:
        id: str = self.user.volume().id
        self.user.cinder.transfers.create(id)
        return id

    def _volume(self) -> dict[str, str]:
        return {'VOLUME': self.user.volume().id}

    def _snapshot(self) -> dict[str, str]:
        made = self.user.cinder.volume_snapshots.create(self.user.volume().id)
        return {'SNAPSHOT': self.user.wait(self.user.cinder.volume_snapshots, made.id).id}

    def _backup(self) -> dict[str, str]:
        return {'BACKUP': self._backup_of(self.user.volume().id)}

    def _backup_of(self, volume: str) -> str:
        made = self.user.cinder.backups.create(volume)
        return str(self.user.wait(self.user.cinder.backups, made.id).id)

    def _group(self) -> dict[str, str]:
        kind = self.admin.cinder.group_types.create(unique('runbook'))
        type_id = self.user.cinder.volume_types.default().id
        made = self.user.cinder.groups.create(kind.id, type_id, name=unique('runbook'))
        self.user.wait(self.user.cinder.groups, made.id)
        self.user.wait(self.user.cinder.volumes, self.user.cinder.volumes.create(1, group_id=made.id).id)
        return {'GROUP': made.id}

    def _group_snapshot(self) -> dict[str, str]:
        made = self.user.cinder.group_snapshots.create(self._group()['GROUP'], name='runbook')
        return {'GROUP_SNAPSHOT': self.user.wait(self.user.cinder.group_snapshots, made.id).id}
