"""QoS specs and the volume types that name them.

Specs count the types that name them, in the transaction that changes the type: they are never removed under a type.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Name, QosSpecs, VolumeType, base, claims
from chalicelib.operations import common, volume_types
from chalicelib.rules import qos as rules

#: Associations that one transaction changes: the types, the specs, and no more than DynamoDB's 100 writes.
BATCH = 90


def get(context: Context, id: str) -> QosSpecs:
    """Return the specs with this id; raises QoSSpecsNotFound."""
    return QosSpecs.find(base.GLOBAL, id)


def list_(context: Context, query: common.ListQuery) -> tuple[list[QosSpecs], bool]:
    """Return one page of all specs, and whether more follow."""
    marker = get(context, query.marker) if query.marker is not None else None
    return common.paged(base.every(QosSpecs, base.GLOBAL), query, marker)


@claims.made_once('QosSpecs')
def create(context: Context, *, name: str, consumer: str, specs: Mapping[str, str]) -> QosSpecs:
    """Make specs; raises QoSSpecsExists when the name is taken, InvalidQoSSpecs for figures that are none."""
    _check(specs)
    made = QosSpecs(
        base.GLOBAL, str(uuid.uuid4()), created_at=base.now(), name=name, consumer=consumer, specs=dict(specs)
    )
    taken = Name(base.GLOBAL, _name_key(name), created_at=base.now(), owner=made.id)
    with base.Transaction() as transaction:
        transaction.put(taken, Name.id.does_not_exist(), lambda: errors.QoSSpecsExists(id=name))
        transaction.put(made, QosSpecs.id.does_not_exist(), lambda: errors.QoSSpecsExists(id=name))
    return made


def _name_key(name: str) -> str:
    return f'qos_specs:{name}'


def _check(specs: Mapping[str, str]) -> None:
    if wrong := rules.check(specs):
        raise errors.InvalidQoSSpecs(reason=f'{", ".join(wrong)} must be whole numbers')


def update(context: Context, id: str, changes: Mapping[str, str]) -> None:
    """Add or change specs, and the consumer where it is among the changes."""
    consumer = changes.get('consumer')
    added = {key: value for key, value in changes.items() if key != 'consumer'}

    def merged(known: dict[str, Any]) -> dict[str, Any]:
        _check({**known, **added})
        return {**known, **added}

    specs = get(context, id)
    common.change_map(specs, 'specs', merged, common.any_status)
    if consumer is not None:
        base.update(specs, [QosSpecs.consumer.set(consumer), *base.touched(QosSpecs)])


def delete_keys(context: Context, id: str, keys: Iterable[str]) -> None:
    """Remove specs by their keys, all or none; raises QoSSpecsKeyNotFound."""
    wanted = list(keys)

    def without(known: dict[str, Any]) -> dict[str, Any]:
        for key in wanted:
            if key not in known:
                raise errors.QoSSpecsKeyNotFound(id=id, key=key)
        return {key: value for key, value in known.items() if key not in wanted}

    common.change_map(get(context, id), 'specs', without, common.any_status)


def delete(context: Context, id: str, *, force: bool = False) -> None:
    """Remove specs that no type names; ``force`` takes them from the types first. Raises QoSSpecsInUse."""
    specs = get(context, id)
    if force:
        disassociate_all(context, id)
    with base.Transaction() as transaction:
        transaction.delete(specs, QosSpecs.association_count == 0, lambda: _still_there(id))
        transaction.delete(
            Name(base.GLOBAL, _name_key(specs.name)), Name.id.exists(), lambda: errors.QoSSpecsNotFound(id=id)
        )


def _still_there(id: str) -> Exception:
    return errors.QoSSpecsInUse() if QosSpecs.count(base.GLOBAL, QosSpecs.id == id) else errors.QoSSpecsNotFound(id=id)


def associations(context: Context, id: str) -> list[VolumeType]:
    """Return the types that name the specs, by name."""
    get(context, id)
    return sorted(_types(id), key=lambda volume_type: volume_type.name)


def _types(id: str) -> list[VolumeType]:
    return [one for one in base.every(VolumeType, base.GLOBAL) if one.qos_specs_id == id]


def associate(context: Context, id: str, type_id: str) -> None:
    """Have a type name the specs; raises InvalidVolumeType for one that names others."""
    volume_types.again(lambda: _associate(context, id, type_id))


def _associate(context: Context, id: str, type_id: str) -> None:
    get(context, id)
    volume_type = volume_types.get(context, type_id)
    if volume_type.qos_specs_id == id:
        return
    if volume_type.qos_specs_id is not None:
        raise errors.InvalidVolumeType(
            reason=f'Type {type_id} is already associated with another qos specs: {volume_type.qos_specs_id}'
        )
    transaction = base.Transaction()
    volume_types.add_association_count_to(transaction, id, 1)
    volume_types.commit_change(transaction, volume_type, [VolumeType.qos_specs_id.set(id)])


def disassociate(context: Context, id: str, type_id: str) -> None:
    """Take the specs from a type; one that does not name them stays as it is."""
    volume_types.again(lambda: _disassociate(context, id, type_id))


def _disassociate(context: Context, id: str, type_id: str) -> None:
    get(context, id)
    volume_type = volume_types.get(context, type_id)
    if volume_type.qos_specs_id == id:
        _release(id, [volume_type])


def disassociate_all(context: Context, id: str) -> None:
    """Take the specs from every type that names them."""
    volume_types.again(lambda: _disassociate_all(context, id))


def _disassociate_all(context: Context, id: str) -> None:
    get(context, id)
    named = _types(id)
    for start in range(0, len(named), BATCH):
        _release(id, named[start : start + BATCH])


def _release(id: str, named: list[VolumeType]) -> None:
    transaction = base.Transaction()
    volume_types.add_association_count_to(transaction, id, -len(named))
    for volume_type in named[1:]:
        volume_types.add_change_to(transaction, volume_type, [VolumeType.qos_specs_id.remove()])
    volume_types.commit_change(transaction, named[0], [VolumeType.qos_specs_id.remove()])


def front_end(kind: VolumeType | None, size: int) -> dict[str, Any] | None:
    """Return the limits that the host of a volume of a type enforces (its size in GiB), None for none: for tasks."""
    specs = _of(kind)
    return rules.front_end(specs.consumer, specs.specs, size) if specs else None


def back_end(kind: VolumeType | None) -> dict[str, str]:
    """Return the specs that the backend of a volume of a type enforces: for tasks."""
    specs = _of(kind)
    return rules.back_end(specs.consumer, specs.specs) if specs else {}


def _of(kind: VolumeType | None) -> QosSpecs | None:
    """The specs that a type names; None for none. Specs that are gone were taken from the type since it was read."""
    return QosSpecs.find_or_none(base.GLOBAL, kind.qos_specs_id) if kind and kind.qos_specs_id else None
