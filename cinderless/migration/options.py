"""Options of cinder.conf by what becomes of them. Names and defaults are those of Cinder 29; a test reads its registry.

Options that are in none of these tables have no counterpart either: they tune a process or a driver that does not exist
here. They are listed with that reason.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Key of a backend in the backends document, or of its ``options`` -> the option, its type here, and Cinder's default.
GENERIC: Mapping[str, tuple[str, type, object]] = {
    'volume_backend_name': ('volume_backend_name', str, None),
    'availability_zone': ('backend_availability_zone', str, None),
    'reserved_percentage': ('reserved_percentage', int, 0),
    'max_over_subscription_ratio': ('max_over_subscription_ratio', float, '20.0'),
    'filter_function': ('filter_function', str, None),
    'goodness_function': ('goodness_function', str, None),
}

#: Option of the DEFAULT section -> resource of the quota class ``default``, and Cinder's default.
QUOTAS: Mapping[str, tuple[str, int]] = {
    'quota_volumes': ('volumes', 10),
    'quota_snapshots': ('snapshots', 10),
    'quota_gigabytes': ('gigabytes', 1000),
    'quota_backups': ('backups', 10),
    'quota_backup_gigabytes': ('backup_gigabytes', 1000),
    'quota_groups': ('groups', 10),
    'per_volume_size_limit': ('per_volume_gigabytes', -1),
}

#: Option of the DEFAULT section -> its type in the parameter SchedulerOptions; names and defaults are the same there.
SCHEDULER: Mapping[str, type] = {
    'scheduler_default_filters': list,
    'scheduler_default_weighers': list,
    'scheduler_weight_handler': str,
    'scheduler_max_attempts': int,
    'capacity_weight_multiplier': float,
    'allocated_capacity_weight_multiplier': float,
    'volume_number_multiplier': float,
    'backup_use_same_host': bool,
}

#: Parameter of the template -> (section, option), the first that is set counts.
PARAMETERS: Mapping[str, tuple[tuple[str, str], ...]] = {
    'DefaultVolumeType': (('DEFAULT', 'default_volume_type'),),
    'OsapiMaxLimit': (('DEFAULT', 'osapi_max_limit'),),
    'ReportMaxAge': (('DEFAULT', 'service_down_time'),),
    'DefaultAvailabilityZone': (('DEFAULT', 'default_availability_zone'), ('DEFAULT', 'storage_availability_zone')),
    'GlanceUrl': (('DEFAULT', 'glance_api_servers'),),
    'PublicEndpoint': (('DEFAULT', 'public_endpoint'),),
    'BarbicanUrl': (('barbican', 'barbican_endpoint'),),
    'CorsAllowedOrigins': (('cors', 'allowed_origin'),),
    'KeystoneUrl': (('keystone_authtoken', 'www_authenticate_uri'), ('keystone_authtoken', 'auth_url')),
    'KeystoneUsername': (('keystone_authtoken', 'username'),),
    'KeystoneProject': (('keystone_authtoken', 'project_name'),),
}

#: Options that need no counterpart, since the service behaves so whatever they are.
NEEDLESS = frozenset({
    'enabled_backends', 'host', 'my_ip', 'backend_host', 'volume_driver', 'extra_capabilities', 'auth_strategy',
    'transport_url', 'log_dir', 'log_file', 'debug', 'state_path', 'lock_path', 'rootwrap_config', 'api_paste_config',
    'osapi_volume_listen', 'osapi_volume_listen_port', 'osapi_volume_workers', 'my_block_storage_ip', 'volumes_dir',
    'glance_api_version', 'target_helper', 'target_protocol', 'volume_group', 'lvm_type',
})  # fmt: skip

#: What the names of objects on a backend mean here.
_NAMES = 'which drivers and the agent rely on: rename them on the backend first'

#: Value of an option -> parameter for which it is Cinder's default, and no wish.
USUAL = {('ReportMaxAge', '60')}

#: Option that is set otherwise than by default -> its default, and what its missing counterpart means.
WITHOUT: Mapping[str, tuple[object, str]] = {
    'no_snapshot_gb_quota': (False, 'snapshots count in gigabytes: raise the limits by their sizes'),
    'volume_name_template': ('volume-%s', f'objects are named volume-<id>, {_NAMES}'),
    'snapshot_name_template': ('snapshot-%s', f'objects are named snapshot-<id>, {_NAMES}'),
    'backup_name_template': ('backup-%s', 'a name inside Cinder only: nothing to do'),
    'image_volume_cache_enabled': (False, 'each volume is made from its image; clone a volume to save time'),
    'allow_availability_zone_fallback': (False, 'a request for an unknown zone is refused with 400'),
    'volume_clear': ('zero', 'a new volume reads as zeroes on every backend here'),
    'message_ttl': (2592000, 'user messages are kept for 30 days'),
    'volume_transfer_key_length': (16, 'the key of a transfer has 16 digits'),
    'enable_force_upload': (False, 'see cinder upload-to-image: an attached volume is uploaded with --force'),
    'allowed_direct_url_schemes': ([], 'images are read through Glance only'),
    'backup_compression_algorithm': ('zlib', 'backups are compressed with zstd'),
    'backup_workers': (1, 'backup functions run side by side: parameter BackupConcurrency'),
    'max_age': (0, 'usage is exact: it is counted in the transaction of each request'),
    'until_refresh': (0, 'usage is exact: it is counted in the transaction of each request'),
    'reservation_expire': (86400, 'reservations end with their operation'),
    'use_multipath_for_image_xfer': (False, 'the workers have an initiator of their own, with one connection'),
    'report_discard_supported': (False, 'the driver reports whether discard works'),
}

#: Section (or the beginning of its name) -> why nothing of it is needed, or what takes its place.
SECTIONS: Mapping[str, str] = {
    'database': 'records are in DynamoDB',
    'oslo_messaging': 'SQS and Step Functions carry the work',
    'oslo_concurrency': 'conditional writes take the place of locks',
    'oslo_policy': 'policy overrides are not converted: the defaults of Cinder 29 apply',
    'oslo_middleware': 'API Gateway has its own limits',
    'oslo_reports': 'see cinderless history and cinderless logs',
    'coordination': 'conditional writes take the place of locks',
    'key_manager': 'keys are in KMS, or in Barbican with BarbicanUrl',
    'nova': 'set the parameter NovaUrl to the public URL of the compute API, ending in /v2.1',
    'service_user': 'the service uses KeystoneUsername in KeystoneProject',
    'profiler': 'set the parameter Tracing',
    'healthcheck': 'GET /healthcheck is built in',
    'privsep': 'no process here needs root',
    'cinder_sys_admin': 'no process here needs root',
    'fc-zone-manager': 'volumes are exported over iSCSI or EBS: no Fibre Channel',
}

#: backup_driver, its last part -> the kind of place that its backups are in, and the option that names it.
BACKUP_PLACES: Mapping[str, tuple[str, str]] = {
    'PosixBackupDriver': ('folder', 'backup_posix_path'),
    'NFSBackupDriver': ('NFS share', 'backup_share'),
    'GlusterfsBackupDriver': ('GlusterFS share', 'glusterfs_backup_share'),
    'S3BackupDriver': ('bucket', 'backup_s3_store_bucket'),
    'SwiftBackupDriver': ('Swift container', 'backup_swift_container'),
}

#: Drivers of Cinder with a counterpart here.
LVM = 'cinder.volume.drivers.lvm.LVMVolumeDriver'
NETAPP = 'cinder.volume.drivers.netapp.common.NetAppDriver'

#: Options of these drivers that are converted.
LVM_OPTIONS = {'volume_group': 'cinder-volumes', 'target_ip_address': '$my_ip', 'target_helper': 'tgtadm'}
NETAPP_OPTIONS = {
    'netapp_server_hostname': None,
    'netapp_server_port': None,
    'netapp_vserver': None,
    'netapp_login': None,
    'netapp_password': None,
    'netapp_transport_type': 'https',
    'netapp_storage_protocol': None,
    'netapp_storage_family': 'ontap_cluster',
    'netapp_pool_name_search_pattern': '(.+)',
    'netapp_lun_space_reservation': 'enabled',
    'use_chap_auth': False,
}

#: Names of options that hold a secret, or a part of one: their values are never shown.
SECRET = ('password', 'secret', 'key', 'transport_url', 'connection', 'auth_url', 'san_login', 'token')
