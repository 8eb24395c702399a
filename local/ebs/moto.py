"""EBS in the local cloud: in moto's place, with moto's instances and keys."""

from __future__ import annotations

from local.ebs.cloud import Instance
from local.ebs.double import Ebs
from local.settings import ACCOUNT, REGION

#: Zones of the region, as moto lists them.
ZONES = tuple(f'{REGION}{letter}' for letter in 'abcdef')


def beside_moto() -> Ebs:
    return Ebs(ZONES, instances=_instance, keys=_key)


def _instance(id: str) -> Instance | None:
    from moto.ec2.models import ec2_backends

    for reservation in ec2_backends[ACCOUNT][REGION].reservations.values():
        for instance in reservation.instances:
            if instance.id == id:
                tags = {tag['key']: tag['value'] for tag in instance.get_tags()}
                return Instance(str(instance.placement.zone), str(instance.state), tags)
    return None


def _key(name: str) -> bool:
    from moto.kms.models import kms_backends

    keys = kms_backends[ACCOUNT][REGION]
    id: str | None = keys.get_key_id(name)
    if name.startswith('alias/'):
        id = keys.get_key_id_from_alias(name)
    found = keys.keys.get(str(id))
    return found is not None and found.key_state == 'Enabled'
