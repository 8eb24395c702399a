"""The catalog: QoS specs, volume types, group types, default types, quotas and the state of services.

These tables are small, and others refer to them, so they are read whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cinderless.migration import items
from cinderless.migration.hosts import HostMap
from cinderless.migration.items import GLOBAL, Finding, Item, Mapped
from cinderless.migration.source import Row, Source, timestamp

#: Keys of the rows of QoS specs: the parent's, whose value is the name, and the consumer among its children.
QOS_NAME, CONSUMER = 'QoS_Specs_Name', 'consumer'

#: The group type that Cinder's migrations create; this service has its own, under a fixed id.
CONSISTENCY_GROUPS = 'default_cgsnapshot_type'

#: The quota class that gives the defaults, and resources whose limits need no counterpart: they are groups now.
DEFAULT_CLASS, IGNORED = 'default', frozenset({'consistencygroups'})

VOLUME_SERVICE = 'cinder-volume'


class Catalog:
    """What other rows refer to: ``types`` is {id: name} of volume types, ``group_types`` is {id in Cinder: id here}.

    ``consistency_groups``: the id here of the type of consistency groups. ``resources``: the names of quotas;
    ``per_type``: those that each type has, too.
    """

    def __init__(
        self, source: Source, consistency_groups: str, resources: Iterable[str], per_type: Iterable[str]
    ) -> None:
        self._source, self._fixed = source, consistency_groups
        self._type_rows, self._group_type_rows = list(source.every('volume_types')), list(source.every('group_types'))
        self._qos = [row for row in source.every('quality_of_service_specs') if row['key'] == QOS_NAME]
        self.types = {str(row['id']): str(row['name']) for row in self._type_rows}
        self.group_types = {str(row['id']): self._here(row) for row in self._group_type_rows}
        per_types = {f'{name}_{shown}': f'{name}_{id}' for id, shown in self.types.items() for name in per_type}
        #: Name of a quota in Cinder -> its name here, which has the type's id in place of its name.
        self._resources = {**{name: name for name in resources}, **per_types}

    def _here(self, row: Row) -> str:
        return self._fixed if row['name'] == CONSISTENCY_GROUPS else str(row['id'])

    def qos_specs(self) -> Iterator[Mapped]:
        children = items.by(self._source.every('quality_of_service_specs'), 'specs_id')
        for row in self._qos:
            specs = items.pairs(children.get(row['id'], []))
            consumer = specs.pop(CONSUMER, 'back-end')
            values = {'created_at': created(row), 'name': row['value'], 'consumer': consumer, 'specs': specs}
            yield Mapped([Item('QosSpecs', GLOBAL, str(row['id']), values)], [])

    def volume_types(self) -> Iterator[Mapped]:
        extra_specs = items.by(self._source.every('volume_type_extra_specs'), 'volume_type_id')
        access = items.by(self._source.every('volume_type_projects'), 'volume_type_id')
        encryption = {row['volume_type_id']: row for row in self._source.every('encryption')}
        for row in self._type_rows:
            qos = row['qos_specs_id'] if self._has_qos(row['qos_specs_id']) else None
            values = items.set_values(
                **_described(row),
                extra_specs=items.pairs(extra_specs.get(row['id'], [])),
                projects=sorted(str(one['project_id']) for one in access.get(row['id'], [])),
                qos_specs_id=qos,
                encryption=_encryption(encryption.get(row['id'])),
            )
            yield Mapped([Item('VolumeType', GLOBAL, str(row['id']), values)], list(self._about_type(row)))

    def _has_qos(self, id: Any) -> bool:
        return any(row['id'] == id for row in self._qos)

    def _about_type(self, row: Row) -> Iterator[Finding]:
        if row['qos_specs_id'] and not self._has_qos(row['qos_specs_id']):
            yield items.adapted(
                'volume_types', row['id'], 'its QoS specs do not exist', 'the type is brought without QoS specs'
            )

    def group_type_records(self) -> Iterator[Mapped]:
        specs = items.by(self._source.every('group_type_specs'), 'group_type_id')
        access = items.by(self._source.every('group_type_projects'), 'group_type_id')
        for row in self._group_type_rows:
            findings = []
            if row['id'] in access:
                findings.append(
                    items.adapted(
                        'group_types',
                        row['id'],
                        'projects have access to a private group type',
                        'only administrators use private group types here: make the type public, or create the groups '
                        'as an administrator',
                    )
                )
            if row['name'] == CONSISTENCY_GROUPS:
                yield Mapped([], findings)
                continue
            values = items.set_values(**_described(row), group_specs=items.pairs(specs.get(row['id'], [])))
            yield Mapped([Item('GroupType', GLOBAL, str(row['id']), values)], findings)

    def default_types(self) -> Iterator[Mapped]:
        for row in self._source.every('default_volume_types'):
            if row['volume_type_id'] not in self.types:
                problem = f'its volume type {row["volume_type_id"]} does not exist'
                advice = 'set another default type for the project in Cinder, or unset it'
                yield Mapped([], [items.left_out('default_volume_types', row['project_id'], problem, advice)])
                continue
            values = {'created_at': created(row), 'volume_type_id': row['volume_type_id']}
            yield Mapped([Item('DefaultType', GLOBAL, str(row['project_id']), values)], [])

    def quotas(self) -> Iterator[Mapped]:
        """Yield the limits of each quota class, then of each project."""
        for table, column in (('quota_classes', 'class_name'), ('quotas', 'project_id')):
            for owner, rows in items.by(self._source.every(table), column).items():
                findings: list[Finding] = []
                limits = dict(self._limits(table, rows, findings))
                key = (GLOBAL, str(owner)) if table == 'quota_classes' else (str(owner), 'quota')
                unit = [Item('Quota', *key, {'limits': limits})] if limits else []
                yield Mapped(unit, findings)

    def _limits(
        self, table: str, rows: Iterable[Mapping[str, Any]], findings: list[Finding]
    ) -> Iterator[tuple[str, int]]:
        for row in rows:
            resource = str(row['resource'])
            limit = -1 if row['hard_limit'] is None else int(row['hard_limit'])
            if resource in IGNORED:
                continue
            if resource not in self._resources:
                problem = f'a limit of {resource}, which is not a resource (a volume type that was renamed or deleted?)'
                findings.append(items.left_out(table, row['id'], problem, 'delete the limit, or set that of the type'))
            elif limit < -1:
                problem = f'the limit of {resource} is {limit}'
                findings.append(items.left_out(table, row['id'], problem, 'set a limit of -1 (none) or more'))
            else:
                yield self._resources[resource], limit

    def disabled_services(self, hosts: HostMap) -> Iterator[Mapped]:
        """Yield the disabled state of volume services whose backend is mapped; others have no counterpart."""
        seen = set[str]()
        for row in self._source.every('services'):
            place = hosts.of(str(row['host']))
            if row['binary'] != VOLUME_SERVICE or not (row['disabled'] or row['frozen']) or place.pool is None:
                continue
            values = items.set_values(
                disabled=True, frozen=bool(row['frozen']), disabled_reason=row['disabled_reason'] or None
            )
            id = f'{VOLUME_SERVICE}:{place.pool.partition("#")[0]}'
            if id not in seen:  # several pools of Cinder may be of one backend here
                seen.add(id)
                yield Mapped([Item('Service', GLOBAL, id, values)], [])


def created(row: Mapping[str, Any]) -> str:
    """Return when a row was created; rows of Cinder's migrations may have no time."""
    return timestamp(row['created_at']) or '1970-01-01T00:00:00.000000'


def times(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the times that every record has."""
    return {'created_at': created(row), 'updated_at': timestamp(row['updated_at'])}


def _described(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **times(row),
        'name': row['name'],
        'description': row['description'],
        'is_public': bool(row['is_public']),
    }


def _encryption(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if row is None:
        return None
    facts = {name: row[name] for name in ('encryption_id', 'provider', 'cipher', 'key_size', 'control_location')}
    return {**facts, **times(row)}
