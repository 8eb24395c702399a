"""Availability zones."""

from __future__ import annotations

from typing import Any

from chalicelib.api.request import Request
from chalicelib.api.resource import Resource
from chalicelib.operations import services
from chalicelib.rules.policies import ANY_AUTHENTICATED

availability_zones = Resource('os-availability-zone')


@availability_zones.get('', policy=ANY_AUTHENTICATED)
def index(request: Request) -> dict[str, Any]:
    zones = services.availability_zones(request.context)
    shown = [{'zoneName': name, 'zoneState': {'available': available}} for name, available in zones]
    return {'availabilityZoneInfo': shown}
