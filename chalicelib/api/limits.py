"""Limits: the project's limits and, for its readers, their use."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.config import settings
from chalicelib.operations import quotas
from chalicelib.rules.microversions import Version
from chalicelib.rules.policies import ANY_AUTHENTICATED, allowed

limits = Resource('limits')

#: From this version on administrators may name a project.
OF_PROJECT: Version = (3, 39)

#: The verbs of the API.
VERBS = ('GET', 'POST', 'PUT', 'DELETE')

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
    """Return limits and use; ``rate`` is empty where projects have no rate limit."""
    usages = quotas.usages(_project(request))
    shown = _column(usages, 0, 'limit')
    if allowed(request.context, 'limits_extension:used_limits'):
        shown |= _column(usages, 1, 'in_use')
    return {'limits': {'rate': _rates(_project(request)), 'absolute': shown}}


def _rates(project_id: str) -> list[dict[str, Any]]:
    """Return the project's limit in Cinder's form. One bucket serves all verbs."""
    if not settings().project_rate_limit:
        return []
    from chalicelib.operations import rate_limits  # few deployments need it

    left, available_at = rate_limits.remaining(project_id)
    next_available = datetime.datetime.fromtimestamp(available_at, datetime.UTC).strftime('%Y-%m-%dT%H:%M:%SZ')
    facts = {'value': settings().project_rate_limit, 'remaining': left, 'unit': 'MINUTE'}
    limits = [{'verb': verb, **facts, 'next-available': next_available} for verb in VERBS]
    return [{'uri': '*', 'regex': '.*', 'limit': limits}]


def _column(usages: Mapping[str, Mapping[str, int]], index: int, figure: str) -> dict[str, int]:
    return {names[index]: usages[resource][figure] for resource, names in ABSOLUTE.items()}


def _project(request: Request) -> str:
    requested = request.query.get('project_id') or request.query.get('tenant_id')
    if requested and request.version >= OF_PROJECT and request.context.is_admin:
        return requested
    return request.context.project_id
