"""Cinder's policy rules and their default check strings (``enforce_new_defaults``), written down apart from the code.

A line is a prefix and its rules: ``backup: get get_all`` stands for ``backup:get`` and ``backup:get_all``.
"""

from __future__ import annotations

import itertools
import re

from chalicelib.context import Context, implied_roles

ADMIN_ONLY = """
    backup: backup-import backup_project_attribute export-import
    clusters: get get_all update
    group: access_group_types_specs group_project_attribute group_snapshot_project_attribute reset_group_snapshot_status
      reset_status
    group:group_types: create delete update
    group:group_types_specs: create delete get get_all update
    scheduler_extension:scheduler_stats: get_pools
    snapshot_extension: list_manageable snapshot_manage snapshot_unmanage
    volume: failover_host force_delete freeze_host thaw_host update_volume_admin_metadata
    volume_extension: access_types_qos_specs_id capabilities default_get default_get_all default_set_or_update
      default_unset hosts list_manageable type_create type_delete type_update volume_host_attribute volume_manage
      volume_mig_status_attribute volume_type_encryption volume_unmanage
    volume_extension:backup_admin_actions: force_delete reset_status
    volume_extension:qos_specs_manage: create delete get get_all update
    volume_extension:quota_classes: get update
    volume_extension:quotas: delete update
    volume_extension:services: index update
    volume_extension:snapshot_admin_actions: force_delete reset_status
    volume_extension:types_extra_specs: create delete read_sensitive update
    volume_extension:volume_actions: upload_public
    volume_extension:volume_admin_actions: extend_volume_completion force_delete force_detach migrate_volume
      migrate_volume_completion reset_status
    volume_extension:volume_type_access: addProjectAccess get_all_for_type removeProjectAccess
    volume_extension:volume_type_encryption: create delete get update
    workers: cleanup
"""

PROJECT_MEMBER = """
    backup: create delete restore update
    group: create create_group_snapshot delete delete_group_snapshot disable_replication enable_replication
      failover_replication list_replication_targets update
    message: delete
    snapshot_extension:snapshot_actions: update_snapshot_status
    volume: accept_transfer attachment_complete attachment_create attachment_delete attachment_update create
      create_from_image create_snapshot create_transfer create_volume_metadata delete delete_snapshot
      delete_snapshot_metadata delete_transfer delete_volume_metadata extend extend_attached_volume multiattach
      multiattach_bootable_volume reimage reimage_reserved retype revert_to_snapshot update update_readonly_flag
      update_snapshot update_snapshot_metadata update_volume_metadata
    volume_extension: volume_type_access
    volume_extension:volume_actions: attach begin_detaching detach initialize_connection reserve roll_detaching
      terminate_connection unreserve upload_image
    volume_extension:volume_image_metadata: remove set
"""

PROJECT_READER = """
    backup: get get_all
    group: get get_all get_all_group_snapshots get_group_snapshot
    limits_extension: used_limits
    message: get get_all
    volume: get get_all get_all_snapshots get_all_transfers get_snapshot get_snapshot_metadata get_transfer
      get_volume_metadata
    volume_extension: access_types_extra_specs extended_snapshot_attributes type_get type_get_all
      volume_encryption_metadata volume_tenant_attribute
    volume_extension:quotas: show
    volume_extension:types_extra_specs: index show
    volume_extension:volume_image_metadata: show
"""

#: Rule -> what oslo.policy is told.
CHECK_STRINGS: dict[str, str] = {}


def _read(text: str, check: str) -> None:
    for line in re.sub(r'\n {6}', ' ', text).split('\n'):
        prefix, _, rules = line.strip().partition(': ')
        CHECK_STRINGS.update({f'{prefix}:{rule}': check for rule in rules.split()})


_read(ADMIN_ONLY, 'role:admin')
_read(PROJECT_MEMBER, '(role:admin) or (role:member and project_id:%(project_id)s)')
_read(PROJECT_READER, '(role:admin) or (role:reader and project_id:%(project_id)s)')

ROLES = ('admin', 'manager', 'member', 'reader', 'service', 'auditor')

#: Every set of roles that a token can hold, with what Keystone adds to it.
ROLE_SETS = sorted(
    {implied_roles(roles) for size in range(len(ROLES) + 1) for roles in itertools.combinations(ROLES, size)},
    key=sorted,
)

OWN, OTHER = 'a' * 32, 'b' * 32


def context(roles: frozenset[str]) -> Context:
    """A caller with ``roles`` on the project OWN."""
    return Context(user_id='u' * 32, project_id=OWN, roles=roles)
