"""Who may do what: Cinder's policy rules with the defaults of its secure RBAC (``enforce_new_defaults``).

A rule requires a role, and below admin a role on the project that owns the resource. The chain
admin > manager > member > reader holds whether or not the token spells out the implied roles; ``service`` alone grants
nothing. A resource of another project is a 404, which the operation that looks it up decides: here it is only refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chalicelib.context import IMPLIED_ROLES, Context
from chalicelib.errors import PolicyNotAuthorized

#: Receives the caller and the project that owns the target; returns whether the caller may.
Predicate = Callable[[Context, str], bool]

_MEMBERS = frozenset(role for role, implied in IMPLIED_ROLES.items() if 'member' in implied)
_READERS = frozenset(role for role, implied in IMPLIED_ROLES.items() if 'reader' in implied)

#: The rule of routes that Cinder guards by a token alone (attachment lists, availability zones, limits, extensions).
ANY_AUTHENTICATED = 'any_authenticated'


def any_authenticated(context: Context, project_id: str) -> bool:
    """Anybody with a valid token, whatever its roles."""
    return True


def project_reader(context: Context, project_id: str) -> bool:
    """``(role:admin) or (role:reader and project_id:%(project_id)s)``."""
    return _holds(context, project_id, _READERS)


def project_member(context: Context, project_id: str) -> bool:
    """``(role:admin) or (role:member and project_id:%(project_id)s)``."""
    return _holds(context, project_id, _MEMBERS)


def admin(context: Context, project_id: str) -> bool:
    """``role:admin``, whichever project the token is scoped to."""
    return context.is_admin


def _holds(context: Context, project_id: str, roles: frozenset[str]) -> bool:
    owns = context.project_id == project_id
    return context.is_admin or (owns and not roles.isdisjoint(context.roles))


POLICIES: Mapping[str, Predicate] = {
    ANY_AUTHENTICATED: any_authenticated,
    # Volumes
    'volume:create': project_member,
    'volume:create_from_image': project_member,
    'volume:delete': project_member,
    'volume:extend': project_member,
    'volume:extend_attached_volume': project_member,
    'volume:force_delete': admin,
    'volume:get': project_reader,
    'volume:get_all': project_reader,
    'volume:multiattach': project_member,
    'volume:multiattach_bootable_volume': project_member,
    'volume:reimage': project_member,
    'volume:reimage_reserved': project_member,
    'volume:retype': project_member,
    'volume:revert_to_snapshot': project_member,
    'volume:update': project_member,
    'volume:update_readonly_flag': project_member,
    'volume_extension:list_manageable': admin,
    'volume_extension:volume_manage': admin,
    'volume_extension:volume_unmanage': admin,
    # Volume actions
    'volume_extension:volume_actions:attach': project_member,
    'volume_extension:volume_actions:begin_detaching': project_member,
    'volume_extension:volume_actions:detach': project_member,
    'volume_extension:volume_actions:initialize_connection': project_member,
    'volume_extension:volume_actions:reserve': project_member,
    'volume_extension:volume_actions:roll_detaching': project_member,
    'volume_extension:volume_actions:terminate_connection': project_member,
    'volume_extension:volume_actions:unreserve': project_member,
    'volume_extension:volume_actions:upload_image': project_member,
    'volume_extension:volume_actions:upload_public': admin,
    'volume_extension:volume_admin_actions:extend_volume_completion': admin,
    'volume_extension:volume_admin_actions:force_delete': admin,
    'volume_extension:volume_admin_actions:force_detach': admin,
    'volume_extension:volume_admin_actions:migrate_volume': admin,
    'volume_extension:volume_admin_actions:migrate_volume_completion': admin,
    'volume_extension:volume_admin_actions:reset_status': admin,
    # Volume metadata and fields
    'volume:create_volume_metadata': project_member,
    'volume:delete_volume_metadata': project_member,
    'volume:get_volume_metadata': project_reader,
    'volume:update_volume_admin_metadata': admin,
    'volume:update_volume_metadata': project_member,
    'volume_extension:volume_encryption_metadata': project_reader,
    'volume_extension:volume_host_attribute': admin,
    'volume_extension:volume_image_metadata:remove': project_member,
    'volume_extension:volume_image_metadata:set': project_member,
    'volume_extension:volume_image_metadata:show': project_reader,
    'volume_extension:volume_mig_status_attribute': admin,
    'volume_extension:volume_tenant_attribute': project_reader,
    # Attachments
    'volume:attachment_complete': project_member,
    'volume:attachment_create': project_member,
    'volume:attachment_delete': project_member,
    'volume:attachment_update': project_member,
    # Transfers
    'volume:accept_transfer': project_member,
    'volume:create_transfer': project_member,
    'volume:delete_transfer': project_member,
    'volume:get_all_transfers': project_reader,
    'volume:get_transfer': project_reader,
    # Snapshots
    'snapshot_extension:list_manageable': admin,
    'snapshot_extension:snapshot_actions:update_snapshot_status': project_member,
    'snapshot_extension:snapshot_manage': admin,
    'snapshot_extension:snapshot_unmanage': admin,
    'volume:create_snapshot': project_member,
    'volume:delete_snapshot': project_member,
    'volume:delete_snapshot_metadata': project_member,
    'volume:get_all_snapshots': project_reader,
    'volume:get_snapshot': project_reader,
    'volume:get_snapshot_metadata': project_reader,
    'volume:update_snapshot': project_member,
    'volume:update_snapshot_metadata': project_member,
    'volume_extension:extended_snapshot_attributes': project_reader,
    'volume_extension:snapshot_admin_actions:force_delete': admin,
    'volume_extension:snapshot_admin_actions:reset_status': admin,
    # Backups
    'backup:backup-import': admin,
    'backup:backup_project_attribute': admin,
    'backup:copy': project_member,
    'backup:create': project_member,
    'backup:delete': project_member,
    'backup:drill': project_member,
    'backup:export-import': admin,
    'backup:get': project_reader,
    'backup:get_all': project_reader,
    'backup:restore': project_member,
    'backup:scrub': project_member,
    'backup:update': project_member,
    # Backup schedules (not Cinder's)
    'backup_schedule:create': project_member,
    'backup_schedule:delete': project_member,
    'backup_schedule:get': project_reader,
    'backup_schedule:get_all': project_reader,
    'backup_schedule:update': project_member,
    'volume_extension:backup_admin_actions:force_delete': admin,
    'volume_extension:backup_admin_actions:reset_status': admin,
    # Operations (not Cinder's)
    'operation:get': project_reader,
    'operation:get_all': project_reader,
    # Messages
    'message:delete': project_member,
    'message:get': project_reader,
    'message:get_all': project_reader,
    # Volume types: access, extra specs, projects
    'volume_extension:access_types_extra_specs': project_reader,
    'volume_extension:access_types_qos_specs_id': admin,
    'volume_extension:type_create': admin,
    'volume_extension:type_delete': admin,
    'volume_extension:type_get': project_reader,
    'volume_extension:type_get_all': project_reader,
    'volume_extension:type_update': admin,
    'volume_extension:types_extra_specs:create': admin,
    'volume_extension:types_extra_specs:delete': admin,
    'volume_extension:types_extra_specs:index': project_reader,
    'volume_extension:types_extra_specs:read_sensitive': admin,
    'volume_extension:types_extra_specs:show': project_reader,
    'volume_extension:types_extra_specs:update': admin,
    'volume_extension:volume_type_access': project_member,
    'volume_extension:volume_type_access:addProjectAccess': admin,
    'volume_extension:volume_type_access:get_all_for_type': admin,
    'volume_extension:volume_type_access:removeProjectAccess': admin,
    # Encryption of volume types
    'volume_extension:volume_type_encryption': admin,
    'volume_extension:volume_type_encryption:create': admin,
    'volume_extension:volume_type_encryption:delete': admin,
    'volume_extension:volume_type_encryption:get': admin,
    'volume_extension:volume_type_encryption:update': admin,
    # Default types of projects
    'volume_extension:default_get': admin,
    'volume_extension:default_get_all': admin,
    'volume_extension:default_set_or_update': admin,
    'volume_extension:default_unset': admin,
    # QoS specs
    'volume_extension:qos_specs_manage:create': admin,
    'volume_extension:qos_specs_manage:delete': admin,
    'volume_extension:qos_specs_manage:get': admin,
    'volume_extension:qos_specs_manage:get_all': admin,
    'volume_extension:qos_specs_manage:update': admin,
    # Groups and group snapshots
    'group:create': project_member,
    'group:create_group_snapshot': project_member,
    'group:delete': project_member,
    'group:delete_group_snapshot': project_member,
    'group:disable_replication': project_member,
    'group:enable_replication': project_member,
    'group:failover_replication': project_member,
    'group:get': project_reader,
    'group:get_all': project_reader,
    'group:get_all_group_snapshots': project_reader,
    'group:get_group_snapshot': project_reader,
    'group:group_project_attribute': admin,
    'group:group_snapshot_project_attribute': admin,
    'group:list_replication_targets': project_member,
    'group:reset_group_snapshot_status': admin,
    'group:reset_status': admin,
    'group:update': project_member,
    # Group types
    'group:access_group_types_specs': admin,
    'group:group_types:create': admin,
    'group:group_types:delete': admin,
    'group:group_types:update': admin,
    'group:group_types_specs:create': admin,
    'group:group_types_specs:delete': admin,
    'group:group_types_specs:get': admin,
    'group:group_types_specs:get_all': admin,
    'group:group_types_specs:update': admin,
    # Quotas and limits
    'limits_extension:used_limits': project_reader,
    'volume_extension:quota_classes:get': admin,
    'volume_extension:quota_classes:update': admin,
    'volume_extension:quotas:delete': admin,
    'volume_extension:quotas:show': project_reader,
    'volume_extension:quotas:update': admin,
    # The service itself: clusters, hosts, pools, services, workers
    'clusters:get': admin,
    'clusters:get_all': admin,
    'clusters:update': admin,
    'scheduler_extension:scheduler_stats:get_pools': admin,
    'volume:failover_host': admin,
    'volume:freeze_host': admin,
    'volume:thaw_host': admin,
    'volume_extension:capabilities': admin,
    'volume_extension:hosts': admin,
    'volume_extension:services:index': admin,
    'volume_extension:services:update': admin,
    'workers:cleanup': admin,
}


#: Rules of this service's extensions, which Cinder does not have.
EXTENSIONS = frozenset({
    'backup:copy', 'backup:drill', 'backup:scrub', 'backup_schedule:create', 'backup_schedule:delete',
    'backup_schedule:get', 'backup_schedule:get_all', 'backup_schedule:update', 'operation:get', 'operation:get_all',
})  # fmt: skip


def allowed(
    context: Context, rule: str, target_project_id: str | None = None, find: Callable[[], Any] | None = None
) -> bool:
    """Return whether ``context`` passes ``rule`` on a resource of ``target_project_id``.

    Without a target the rule is applied to the caller's own project, as Cinder does for lists and creates. ``find``
    returns the resource itself, whose attributes policy overrides may compare; without overrides it is not called.
    Raises KeyError for a rule that does not exist: a mistake in the code, never a yes.
    """
    if context.overrides is not None:
        return context.overrides.allows(context, rule, target_project_id, find)
    return POLICIES[rule](context, context.project_id if target_project_id is None else target_project_id)


def authorize(
    context: Context, rule: str, target_project_id: str | None = None, find: Callable[[], Any] | None = None
) -> None:
    """Raise PolicyNotAuthorized (403) unless ``allowed``."""
    if not allowed(context, rule, target_project_id, find):
        raise PolicyNotAuthorized(action=rule)
