"""The order in which Cinder's tables are mapped: what others refer to comes first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from chalicelib.models import base
from chalicelib.operations import group_types
from chalicelib.rules import quotas
from cinderless.migration import groups, others, volumes
from cinderless.migration.catalog import Catalog
from cinderless.migration.hosts import HostMap
from cinderless.migration.items import Mapped
from cinderless.migration.source import Source

#: Tables whose rows become records of their own: their number is the total of the progress.
TABLES = (
    *('quality_of_service_specs', 'volume_types', 'group_types', 'default_volume_types', 'groups'),
    *('group_snapshots', 'volumes', 'backups'),
)


class Stage(NamedTuple):
    """Rows that are mapped before the next stage begins, since that refers to their records."""

    name: str
    mapped: Callable[[], Iterable[Mapped]]


class Stages:
    """The stages of one database. Iterating it reads the database once, in order."""

    def __init__(self, source: Source, hosts: HostMap) -> None:
        self._source, self._hosts = source, hosts
        fixed = group_types.consistency_groups_id()
        self.catalog = Catalog(source, fixed, quotas.DEFAULTS, quotas.PER_TYPE)
        #: Project of each group, and ids of the group snapshots, that are brought.
        self._groups: dict[str, str] = {}
        self._group_snapshots: set[str] = set()

    def total(self) -> int:
        """Return the number of rows that are mapped, for the progress."""
        return sum(self._source.count(table) for table in TABLES)

    def __iter__(self) -> Iterator[Stage]:
        catalog = self.catalog
        yield Stage('QoS specs', catalog.qos_specs)
        yield Stage('volume types', catalog.volume_types)
        yield Stage('group types', catalog.group_type_records)
        yield Stage('default types', catalog.default_types)
        yield Stage('quotas', catalog.quotas)
        yield Stage('groups', self._map_groups)
        yield Stage('group snapshots', self._map_group_snapshots)
        yield Stage('volumes', self._map_volumes)
        yield Stage('backups', lambda: others.backups(self._source))
        yield Stage('messages', lambda: others.user_messages(self._source, base.now()))
        yield Stage('services', lambda: catalog.disabled_services(self._hosts))
        yield Stage('other rows', self._find_others)

    def _map_groups(self) -> Iterator[Mapped]:
        for mapped in groups.groups(self._source, self.catalog, self._hosts):
            self._groups |= {item.id: item.project_id for item in mapped.unit}
            yield mapped

    def _map_group_snapshots(self) -> Iterator[Mapped]:
        for mapped in groups.group_snapshots(self._source, self.catalog, self._groups):
            self._group_snapshots |= {item.id for item in mapped.unit}
            yield mapped

    def _map_volumes(self) -> Iterator[Mapped]:
        mapper = volumes.Mapper(self._hosts, self.catalog.types, self._groups, self._group_snapshots)
        for page in self._source.pages('volumes'):
            yield from mapper.page(self._source, page)

    def _find_others(self) -> Iterator[Mapped]:
        yield from groups.legacy(self._source)
        yield from others.orphans(self._source)
        yield from others.usage_differences(self._source)
