"""Hosts (os-hosts, deprecated in Cinder): the services once more, and the resources of a backend by project."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Any

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Snapshot, Volume, base
from chalicelib.operations import services
from chalicelib.operations.pools import backend

#: In the place of a project: the sum of all.
TOTAL = '(total)'


def usage(context: Context, host: str) -> list[dict[str, str]]:
    """Return what is on the backend ``host@backend``: the sum first, then by project. Reads every volume there is.

    Raises ServiceNotFoundOnHost.
    """
    if not services.list_(context, host, services.VOLUME_BINARY):
        raise errors.ServiceNotFoundOnHost(binary=services.VOLUME_BINARY, host=host)
    volumes = _sizes((one for one in base.every(Volume, None) if backend(one.host or '') == host), 'size')
    snapshots = _sizes((one for one in base.every(Snapshot, None) if backend(one.host or '') == host), 'volume_size')
    projects = sorted({project for project in (*volumes, *snapshots) if project != TOTAL})
    return [_row(host, project, volumes[project], snapshots[project]) for project in (TOTAL, *projects)]


def _sizes(records: Iterable[Any], attribute: str) -> collections.defaultdict[str, list[int]]:
    """Sizes in GiB by project, and under ``TOTAL``."""
    found: collections.defaultdict[str, list[int]] = collections.defaultdict(list)
    for record in records:
        for project in (record.project_id, TOTAL):
            found[project].append(int(getattr(record, attribute)))
    return found


def _row(host: str, project: str, volumes: list[int], snapshots: list[int]) -> dict[str, str]:
    return {
        'host': host,
        'project': project,
        'volume_count': str(len(volumes)),
        'total_volume_gb': str(sum(volumes)),
        'snapshot_count': str(len(snapshots)),
        'total_snapshot_gb': str(sum(snapshots)),
    }
