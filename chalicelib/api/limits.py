"""Limits: the project's limits and, for its readers, their use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.operations import quotas
from chalicelib.rules.microversions import Version
from chalicelib.rules.policies import ANY_AUTHENTICATED, allowed

limits = Resource('limits')

#: From this version on administrators may name a project.
OF_PROJECT: Version = (3, 39)

#: Quota resource -> name of its limit, and of its use.
ABSOLUTE = {
    'volumes': ('maxTotalVolumes', 'totalVolumesUsed'),
    'gigabytes': ('maxTotalVolumeGigabytes', 'totalGigabytesUsed'),
    'snapshots': ('maxTotalSnapshots', 'totalSnapshotsUsed'),
    'backups': ('maxTotalBackups', 'totalBackupsUsed'),
    'backup_gigabytes': ('maxTotalBackupGigabytes', 'totalBackupGigabytesUsed'),
}


@limits.get('', policy=ANY_AUTHENTICATED)
def index(request: Request) -> dict[str, Any]:
    """``rate`` is empty: the service has no rate limits of Cinder's kind."""
    usages = quotas.usages(_project(request))
    shown = _column(usages, 0, 'limit')
    if allowed(request.context, 'limits_extension:used_limits'):
        shown |= _column(usages, 1, 'in_use')
    return {'limits': {'rate': [], 'absolute': shown}}


def _column(usages: Mapping[str, Mapping[str, int]], index: int, figure: str) -> dict[str, int]:
    return {names[index]: usages[resource][figure] for resource, names in ABSOLUTE.items()}


def _project(request: Request) -> str:
    requested = request.query.get('project_id') or request.query.get('tenant_id')
    if requested and request.version >= OF_PROJECT and request.context.is_admin:
        return requested
    return request.context.project_id
