"""Which backup service takes a backup: Cinder's get_backup_host."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

from chalicelib import errors
from chalicelib.scheduler.config import SchedulerConfig
from chalicelib.scheduler.hosts import extract_host

_CHANCE = random.SystemRandom()


def get_backup_host(
    services: Iterable[Mapping[str, Any]],
    config: SchedulerConfig,
    *,
    volume: Mapping[str, Any] | None = None,
    availability_zone: str | None = None,
    driver: str | None = None,
    rng: random.Random = _CHANCE,
) -> str:
    """Return the host of one backup service that works, at random.

    A service: ``host``, ``availability_zone``, ``capabilities`` (``backend_state``, ``driver_name``,
    ``availability_zone``), perhaps ``up`` and ``disabled``. The zone is the request's, else the volume's, else any.
    With ``backup_use_same_host`` it must be the machine of the volume. Raises ServiceNotFound when there is none.
    """
    zone = availability_zone or (volume or {}).get('availability_zone')
    hosts: list[str]
    machine = extract_host(volume['host'], 'host') if volume and config.backup_use_same_host else None
    if machine:
        hosts = [service['host'] for service in services if _is_enabled(service, machine, zone)]
    else:
        hosts = [service['host'] for service in services if _works(service.get('capabilities'), driver, zone)]
    if not hosts:
        raise errors.ServiceNotFound(id='cinder-backup')
    return rng.choice(hosts)


def _is_enabled(service: Mapping[str, Any], machine: str, zone: str | None) -> bool:
    in_zone = not zone or service.get('availability_zone') == zone
    return in_zone and service['host'] == machine and bool(service.get('up', True)) and not service.get('disabled')


def _works(report: Any, driver: str | None, zone: str | None) -> bool:
    if not isinstance(report, dict) or not report.get('backend_state'):
        return False
    return (not driver or report.get('driver_name') == driver) and (not zone or report.get('availability_zone') == zone)
