"""Backups' metadata, user messages, and rows whose volume does not exist."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

from chalicelib.rules import bounds, messages, states
from cinderless.migration import items
from cinderless.migration.catalog import created, times
from cinderless.migration.items import Item, Mapped
from cinderless.migration.source import Row, Source, timestamp

#: fail_reason of a backup whose data is still in Cinder's format.
NOT_IMPORTED = 'Its data is in the format of Cinder: import it with cinderless backup import-cinder.'

#: Statuses of backups that nothing is working on.
SETTLED_BACKUPS = frozenset({states.AVAILABLE, states.ERROR, states.ERROR_DELETING})

#: Tables whose rows belong to a volume.
OF_VOLUMES = ('snapshots', 'volume_attachment', 'transfers')


def backups(source: Source) -> Iterator[Mapped]:
    """Yield what each backup becomes: its metadata, in status error until its data is imported."""
    for rows in source.pages('backups'):
        metadata = items.by(source.having('backup_metadata', 'backup_id', [row['id'] for row in rows]), 'backup_id')
        for row in rows:
            refusal = _refusal(row)
            if refusal:
                yield Mapped([], [items.left_out('backups', row['id'], *refusal)])
            else:
                yield _backup(row, items.pairs(metadata.get(row['id'], [])))


def _refusal(row: Row) -> tuple[str, str] | None:
    if row['status'] not in SETTLED_BACKUPS:
        return f'its status is {row["status"]}', 'wait until Cinder has finished, or reset its status, and run again'
    if not row['project_id'] or not isinstance(row['size'], int) or row['size'] <= 0:
        return f'it has no project, or a size of {row["size"]}', 'correct the row'
    return None


def _backup(row: Row, metadata: dict[str, str]) -> Mapped:
    kept = (
        *('user_id', 'volume_id', 'snapshot_id', 'size', 'container', 'availability_zone', 'host', 'service'),
        *('object_count', 'parent_id', 'num_dependent_backups', 'encryption_key_id'),
    )
    usable = row['status'] == states.AVAILABLE
    values = items.set_values(
        **times(row),
        **{name: row[name] for name in kept},
        name=row['display_name'],
        description=row['display_description'],
        metadata=bounds.fitting('backup', 'metadata', metadata),
        data_timestamp=timestamp(row['data_timestamp']) or created(row),
        status=states.ERROR if usable else row['status'],
        fail_reason=NOT_IMPORTED if usable else row['fail_reason'],
    )
    item = Item('Backup', str(row['project_id']), str(row['id']), values)
    problem = f'its data is in the format of Cinder, in {row["container"]}/{row["service_metadata"]}'
    advice = 'cinderless backup import-cinder converts it; until then its status is error'
    return Mapped([item], [items.decision('backups', row['id'], problem, advice)] if usable else [])


def user_messages(source: Source, now: str) -> Iterator[Mapped]:
    """Yield the messages that have not expired at ``now``, with the texts of their codes."""
    for row in source.every('messages'):
        expires = timestamp(row['expires_at'])
        action, detail = _code(messages.Action, row['action_id']), _code(messages.Detail, row['detail_id'])
        if expires is None or expires <= now or action is None or detail is None:
            continue
        text = f'{messages.ACTION_TEXTS[action]}:{messages.DETAIL_TEXTS[detail]}'
        values = items.set_values(
            created_at=created(row),
            request_id=row['request_id'] or 'req-unknown',
            resource_type=row['resource_type'] or 'VOLUME',
            resource_uuid=row['resource_uuid'],
            action_id=str(action),
            detail_id=str(detail),
            user_message=text,
            guaranteed_until=expires,
            expires=_seconds(expires),
        )
        yield Mapped([Item('Message', str(row['project_id']), str(row['id']), values)], [])


def _code(kind: Any, value: Any) -> Any:
    return kind(str(value)) if str(value) in {str(member) for member in kind} else None


def _seconds(text: str) -> int:
    return int(datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.UTC).timestamp())


def orphans(source: Source) -> Iterator[Mapped]:
    """Yield a finding for each row whose volume does not exist."""
    for table in OF_VOLUMES:
        for rows in source.pages(table):
            known = {row['id'] for row in source.having('volumes', 'id', [row['volume_id'] for row in rows])}
            for row in rows:
                if row['volume_id'] not in known:
                    advice = 'delete the row in Cinder: cinder-manage, or the API with force'
                    problem = f'its volume {row["volume_id"]} does not exist'
                    yield Mapped([], [items.left_out(table, row['id'], problem, advice)])


def usage_differences(source: Source) -> Iterator[Mapped]:
    """Yield a finding for each counter of Cinder that is negative, or holds a reservation of work under way."""
    for row in source.every('quota_usages'):
        if row['in_use'] < 0:
            problem = f'{row["resource"]} of project {row["project_id"]} is {row["in_use"]}'
            advice = 'the usage here is counted from the records: nothing to do'
            yield Mapped([], [items.adapted('quota_usages', row['id'], problem, advice)])
