"""What an operator sees and sets of the backends: services, pools, availability zones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chalicelib import errors
from chalicelib.config import settings
from chalicelib.context import Context
from chalicelib.models import Service, base
from chalicelib.models.pool import service_id
from chalicelib.operations import pools as pool_states
from chalicelib.operations import volume_types

VOLUME_BINARY = 'cinder-volume'


def list_(context: Context, host: str | None = None, binary: str | None = None) -> list[dict[str, Any]]:
    """Return one row per service, by binary and host; ``host`` may leave the backend out, as in Cinder."""
    services = sorted(base.every(Service, base.GLOBAL), key=lambda service: (service.binary, service.host))
    return [
        _row(service)
        for service in services
        if (host is None or host in {service.host, service.host.partition('@')[0]}) and binary in {None, service.binary}
    ]


def _row(service: Service) -> dict[str, Any]:
    return {
        'binary': service.binary,
        'host': service.host,
        'zone': service.availability_zone,
        'uuid': service.uuid,
        'created_at': service.created_at,
        'status': 'disabled' if service.disabled else 'enabled',
        'state': 'up' if is_up(service) else 'down',
        'updated_at': service.heartbeat_at,
        'disabled_reason': service.disabled_reason,
        'frozen': service.frozen,
        'backend_state': service.backend_state,
        'replication_status': 'disabled',
        'active_backend_id': None,
        'cluster': service.host if service.binary == VOLUME_BINARY else None,
    }


def is_up(service: Service) -> bool:
    """A service is up while its backend answered its last report, and that is not too long ago."""
    heard = service.heartbeat_at
    return service.backend_state != 'down' and heard is not None and heard >= base.after(-settings().report_max_age)


def set_enabled(context: Context, host: str, binary: str, enabled: bool, reason: str | None = None) -> dict[str, Any]:
    """Let a service take new volumes, or not; raises ServiceNotFoundOnHost."""
    service = Service(base.GLOBAL, f'{binary}:{host}')
    actions = [
        Service.disabled.set(not enabled),
        Service.disabled_reason.set(reason) if reason and not enabled else Service.disabled_reason.remove(),
        *base.touched(Service),
    ]
    try:
        base.update(service, actions)
    except errors.NotFound:
        raise errors.ServiceNotFoundOnHost(binary=binary, host=host) from None
    pool_states.forget()
    return _row(service)


def set_frozen(context: Context, host: str, frozen: bool) -> None:
    """Freeze a backend (nothing is made, changed or removed there), or thaw it.

    Raises InvalidInput, as Cinder does, for one that is not there or in that state already.
    """
    actions = [Service.frozen.set(frozen), Service.disabled.set(frozen), *base.touched(Service)]
    actions.append(Service.disabled_reason.set('frozen') if frozen else Service.disabled_reason.remove())
    # The report that makes a service's record does not set ``frozen``: absent means not frozen.
    thawed = (Service.frozen == False) | Service.frozen.does_not_exist()  # noqa: E712 - a condition
    try:
        base.update(
            Service(base.GLOBAL, f'{VOLUME_BINARY}:{host}'),
            actions,
            thawed if frozen else Service.frozen == True,  # noqa: E712
        )
    except errors.NotFound:
        raise _unknown_backend(host) from None
    except errors.StateChanged:
        raise errors.InvalidInput(reason=f'frozen of service {host} must be {not frozen} for this.') from None
    pool_states.forget()


def fail_over(context: Context, host: str, target: str | None) -> None:
    """Refuse: no driver here replicates, and a fail-over to nowhere would only take the volumes away.

    Raises InvalidInput, as Cinder does for an unknown backend and for one without replication.
    """
    if not any(row['host'] == host for row in list_(context, host, VOLUME_BINARY)):
        raise _unknown_backend(host)
    raise errors.InvalidInput(
        reason=f'replication_status in service {host} must be enabled or failed-over and must be up to failover.'
    )


def _unknown_backend(host: str) -> errors.InvalidInput:
    return errors.InvalidInput(reason=errors.ServiceNotFoundOnHost(binary=VOLUME_BINARY, host=host).message)


def refuse_frozen(host: str | None) -> None:
    """Raise InvalidInput when the backend of ``host@backend#pool`` is frozen, by its service's record as it is now."""
    if host and _is_frozen(host):
        raise errors.InvalidInput(reason='Modification operations are not allowed on frozen storage backends.')


def _is_frozen(host: str) -> bool:
    service = Service.find_or_none(base.GLOBAL, service_id(host))
    return service is not None and service.frozen


def takes_work(host: str) -> bool:
    """Return whether no administrator has disabled or frozen the backend of a host or pool, by its record as it is now.

    For what was decided by pools that are some seconds old, and claims nothing.
    """
    service = Service.find_or_none(base.GLOBAL, service_id(host))
    return service is None or not (service.disabled or service.frozen)


def pools(context: Context, filters: Mapping[str, Any], detail: bool) -> list[dict[str, Any]]:
    """Return {name, capabilities} of the pools that work (Cinder's get_pools); without ``detail`` only names.

    ``filters``: ``name``, ``volume_type`` (its extra specs must be met), or any capability.
    """
    from chalicelib.scheduler import filter_scheduler  # most processes of the API never need it
    from chalicelib.scheduler.request_spec import RequestSpec

    wanted = dict(filters)
    type_name = wanted.pop('volume_type', None)
    volume_types.forget()  # nothing is written, so no condition would notice an old type
    volume_type = volume_types.find(context, type_name) if type_name else None
    spec = RequestSpec(size=None, extra_specs=volume_type.extra_specs) if volume_type else None
    found = filter_scheduler.get_pools(pool_states.states(fresh=True), pool_states.config(), wanted, spec)
    return [
        pool | {'capabilities': _plain(pool['capabilities'])} if detail else {'name': pool['name']} for pool in found
    ]


def _plain(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report whose protocol is one text, the first where the backend reported several spellings of it."""
    protocol = report.get('storage_protocol')
    return {**report, 'storage_protocol': protocol[0]} if isinstance(protocol, list) and protocol else dict(report)


def capabilities(context: Context, host: str) -> dict[str, Any]:
    """Return the last report of the backend ``host@backend``; raises NotFound."""
    if not any(row['binary'] == VOLUME_BINARY for row in list_(context, pool_states.backend(host))):
        raise errors.NotFound(f"Can't find service: {host}")
    reports = [pool for pool in pool_states.states(fresh=True) if host in {pool.name, pool_states.backend(pool.name)}]
    return _plain(reports[0].capabilities if reports else {})


def availability_zones(context: Context) -> list[tuple[str, bool]]:
    """Return (zone, whether any of its services is enabled), by name."""
    zones: dict[str, bool] = {}
    for service in base.every(Service, base.GLOBAL):
        if service.binary == VOLUME_BINARY:
            zones[service.availability_zone] = zones.get(service.availability_zone, False) or not service.disabled
    return sorted(zones.items())


def known_zones(context: Context, zones: Iterable[str]) -> list[str]:
    """Return those of the zones that there are; the default zone is always one."""
    default = settings().default_availability_zone
    wanted = list(zones)
    there = {default} if set(wanted) <= {default} else {default, *dict(availability_zones(context))}
    return [zone for zone in wanted if zone in there]
