"""Every resource of the API. Importing a module declares its routes; some add to the resource of another."""

from __future__ import annotations

from chalicelib.api import (
    extra_specs,
    group_actions,
    log_levels,
    snapshot_metadata,
    type_encryption,
    volume_actions,
    volume_images,
    volume_metadata,
)
from chalicelib.api.attachments import attachments
from chalicelib.api.availability_zones import availability_zones
from chalicelib.api.backup_schedules import backup_schedules
from chalicelib.api.backups import backups
from chalicelib.api.capabilities import capabilities
from chalicelib.api.cgsnapshots import cgsnapshots
from chalicelib.api.clusters import clusters
from chalicelib.api.consistencygroups import consistencygroups
from chalicelib.api.default_types import default_types
from chalicelib.api.extensions import extensions
from chalicelib.api.group_snapshots import group_snapshots
from chalicelib.api.group_types import group_types
from chalicelib.api.groups import groups
from chalicelib.api.hosts import hosts
from chalicelib.api.limits import limits
from chalicelib.api.managing import MANAGEABLE
from chalicelib.api.messages import messages
from chalicelib.api.qos_specs import qos_specs
from chalicelib.api.quota_sets import quota_class_sets, quota_sets
from chalicelib.api.resource import Resource, Route
from chalicelib.api.resource_filters import resource_filters
from chalicelib.api.scheduler_stats import scheduler_stats
from chalicelib.api.services import services
from chalicelib.api.snapshots import snapshots
from chalicelib.api.volume_transfers import old_transfers, volume_transfers
from chalicelib.api.volume_types import volume_types
from chalicelib.api.volumes import volumes
from chalicelib.api.workers import workers

#: Modules that add routes to a resource of another module.
ADDITIONS = (
    extra_specs,
    log_levels,
    snapshot_metadata,
    type_encryption,
    volume_actions,
    volume_images,
    volume_metadata,
    volume_actions,
    volume_metadata,
    snapshot_metadata,
    extra_specs,
    group_actions,
    type_encryption,
    log_levels,
)

RESOURCES: tuple[Resource, ...] = (
    volumes,
    attachments,
    snapshots,
    volume_types,
    qos_specs,
    default_types,
    backups,
    volume_transfers,
    old_transfers,
    group_types,
    groups,
    group_snapshots,
    consistencygroups,
    cgsnapshots,
    backup_schedules,
    availability_zones,
    services,
    clusters,
    hosts,
    capabilities,
    workers,
    scheduler_stats,
    limits,
    quota_sets,
    quota_class_sets,
    messages,
    extensions,
    resource_filters,
    *MANAGEABLE,
)


def routes() -> list[Route]:
    """The whole table."""
    return [route for resource in RESOURCES for route in resource.routes]
