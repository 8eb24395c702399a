"""Settings, read once from the function's environment; defaults are Cinder's."""

from __future__ import annotations

import functools
import os
from typing import Any, NamedTuple


class Settings(NamedTuple):
    """Settings that the template passes to a function. Names in upper case are the environment variables."""

    #: Prefix of every table's name: the stack's name.
    table_prefix: str
    #: ARN of the stack; its last part is unique among all stacks ever made. Empty without a stack.
    stack_id: str
    #: URL of the queue that carries accepted work to ``start_workflow``.
    work_queue_url: str
    #: URL of the queue that keeps messages which were given up.
    dead_letter_queue_url: str
    #: ``arn:...:stateMachine:<stack>-``; followed by its name, it is a state machine's ARN.
    state_machine_prefix: str
    #: ``arn:...:execution:<stack>-``; followed by state machine, ':' and execution name, it is an execution's ARN.
    execution_prefix: str
    #: Functions that reach backends; all other functions invoke them.
    volume_worker: str
    backup_worker: str
    backup_bucket: str
    #: Key that wraps backup data keys, LUKS keys and stored CHAP secrets.
    kms_key_id: str
    #: SSM parameter that holds the backends document (JSON).
    backends_parameter: str
    #: Secret that holds the standalone identity's document and signing key; unused when ``keystone_url`` is set. A name
    #: that begins with / is an SSM SecureString, any other a secret of Secrets Manager.
    identity_secret: str
    #: External Keystone, ends in /v3; empty for the standalone identity.
    keystone_url: str
    keystone_username: str
    keystone_project: str
    #: Secret that holds the service user's password; named as ``identity_secret``.
    keystone_secret: str
    #: Other OpenStack services; empty for none. Glance's and Barbican's root; Nova's ends in /v2.1.
    glance_url: str
    nova_url: str
    barbican_url: str
    #: Bus of EventBridge that notifications are published to; empty for none.
    notification_bus: str
    #: The base of links when a stage or a custom domain precedes the API; empty: taken from the request.
    public_endpoint: str
    #: Origins whose pages may call the API (api/cors.py), separated by commas; empty for none.
    cors_allowed_origins: str
    region: str
    default_availability_zone: str
    default_volume_type: str
    #: JSON object of limits of projects without their own (rules/quotas.py); empty for Cinder's defaults.
    default_quotas: str
    #: GiB of the largest image that volumes are made from or uploaded to; 0 for no limit.
    max_image_gigabytes: int
    #: Attempts to place and provision one volume (Cinder's scheduler_max_attempts).
    scheduler_max_attempts: int
    #: JSON object of the scheduler's options under their names in cinder.conf (scheduler/config.py), or the SSM
    #: parameter that holds it (aws.document); empty: Cinder's.
    scheduler_options: str
    #: JSON object of policy rules in place of Cinder's defaults (rules/policy_overrides.py), or the SSM parameter that
    #: holds it; empty for none.
    policy_overrides: str
    #: Seconds after which a backend's report is stale (Cinder's service_down_time is 60, its polling 60).
    report_max_age: int
    #: Public half of a recovery key (hex) that data keys of backups are wrapped to, too; empty for none.
    recovery_public_key: str
    #: Most days that a backup may be locked (S3 Object Lock); 0: the bucket has no Object Lock.
    backup_lock_days: int
    #: Seconds that the data of a deleted backup stays; longer than a worker can run on after the deletion.
    backup_grace: int
    #: JSON object of targets for copies of backups, by name (operations/backup_copies.py), or the SSM parameter that
    #: holds it; empty for none.
    backup_targets: str
    #: Bytes of one object of a backup.
    pack_size: int
    osapi_max_limit: int
    #: Requests a minute that a project may send (operations/rate_limits.py); 0 for no limit, as in Cinder.
    project_rate_limit: int
    #: Requests that a project may send at once, if its rate is limited.
    project_burst_limit: int
    #: Days for which the log of operations is kept.
    operation_days: int

    @property
    def deployment(self) -> str:
        """The mark of objects that this deployment makes on a backend, which other deployments may use, too.

        Two deployments, in two accounts or regions, may have one name, so the name alone is ambiguous.
        """
        unique = self.stack_id.rpartition('/')[2]
        return f'{self.table_prefix}-{unique}' if unique else self.table_prefix

    @classmethod
    def from_environment(cls, environment: dict[str, str]) -> Settings:
        """Read every field from its upper-case name; numbers are checked."""
        return cls(*[cls._read(field, environment) for field in cls._fields])

    @staticmethod
    def _read(field: str, environment: dict[str, str]) -> Any:
        """Return one setting; it is a number if its default is one."""
        name, default = field.upper(), DEFAULTS.get(field, '')
        text = environment.get(name, str(default))
        if not isinstance(default, int):
            return text
        if not text.isdigit():
            raise ValueError(f'{name}={text!r} is not a whole number')
        return int(text)


DEFAULTS: dict[str, str | int] = {
    'recovery_public_key': '',
    'table_prefix': 'cinderless',
    'keystone_username': 'cinder',
    'keystone_project': 'service',
    'region': os.environ.get('AWS_REGION', os.environ.get('AWS_DEFAULT_REGION', 'us-east-1')),
    'default_availability_zone': 'nova',
    'default_volume_type': '__DEFAULT__',
    'max_image_gigabytes': 0,
    'scheduler_max_attempts': 3,
    'report_max_age': 600,
    'backup_lock_days': 0,
    'pack_size': 32 * 1024 * 1024,
    'backup_grace': 48 * 3600,
    'osapi_max_limit': 1000,
    'project_rate_limit': 0,
    'project_burst_limit': 100,
    'operation_days': 30,
}


@functools.cache
def settings() -> Settings:
    """Return the running function's settings."""
    return Settings.from_environment(dict(os.environ))
