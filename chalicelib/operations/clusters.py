"""Clusters: as many workers as are needed serve a backend at once, which Cinder calls a cluster (active-active).

So each backend is one, with the backend's name and one service; its state is that of the service.
"""

from __future__ import annotations

from typing import Any

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.operations import services


def list_(context: Context, binary: str | None = None) -> list[dict[str, Any]]:
    """Return the clusters, by name."""
    rows = services.list_(context, binary=services.VOLUME_BINARY)
    return [_row(row) for row in rows if binary in (None, services.VOLUME_BINARY)]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        **row,
        'name': row['host'],
        'num_hosts': 1,
        'num_down_hosts': int(row['state'] == 'down'),
        'last_heartbeat': row['updated_at'],
    }


def get(context: Context, name: str, binary: str | None = None) -> dict[str, Any]:
    """Return one cluster; raises ClusterNotFound."""
    for row in list_(context, binary):
        if row['name'] == name:
            return row
    raise errors.ClusterNotFound(id=name)


def set_enabled(context: Context, name: str, binary: str, enabled: bool, reason: str | None = None) -> dict[str, Any]:
    """Let the cluster's backend take new volumes, or not; raises ClusterNotFound."""
    get(context, name, binary)
    services.set_enabled(context, name, binary, enabled, reason)
    return get(context, name, binary)
