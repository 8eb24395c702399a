"""Accept a new volume: empty, or with the data of a snapshot, a volume or a backup (Cinder's create_volume API flow).

One transaction writes the record (``creating``), takes the quota and counts the volume among the source's readers.
The workflow ``create_volume`` chooses the pool afterwards; so 202 does not promise capacity.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from chalicelib import errors
from chalicelib.config import settings
from chalicelib.context import Context
from chalicelib.models import DefaultType, Group, Snapshot, Volume, VolumeType, base, claims, reading
from chalicelib.operations import common, group_members, keys, quotas, services, volume_sources, volume_types
from chalicelib.rules import extra_specs, states, workflows
from chalicelib.rules.policies import authorize

if TYPE_CHECKING:
    from chalicelib.clients.glance import Image


class Prepared(NamedTuple):
    """A volume's record that is not written yet, its source, and its type as it was read for it."""

    volume: Volume
    source: volume_sources.Source | None
    kind: VolumeType

    @property
    def kept(self) -> list[VolumeType]:
        """What ``add_check_to`` is called for: the type, unless the source has it too, which must exist as well."""
        return [] if self.source and self.source.type_id == self.kind.id else [self.kind]


#: Resource -> how a request for a volume names it.
_REFERENCES: Mapping[str, str] = {'snapshot': 'snapshot_id', 'volume': 'source_volid'}


@claims.made_once('Volume')
def create(context: Context, **wanted: Any) -> Volume:
    """Accept a volume and return its record; ``wanted`` and errors are those of ``prepare``, and OverQuota."""
    volume = volume_types.again(lambda: _accept(context, wanted))
    common.send(context, 'create', volume)
    return volume


def _accept(context: Context, wanted: Mapping[str, Any]) -> Volume:
    """Record the volume; raises TypeChanged when its type has changed since it was read."""
    along = ('Volume', 'VolumeType') if any(wanted.get(name) for name in volume_sources.KINDS) else ()
    with reading.together(*_needed(context, wanted), along=along):
        prepared = prepare(context, **wanted)
        volume, key = prepared.volume, _key(context, prepared)
        deltas = {'volumes': 1, 'gigabytes': int(volume.size)}
        add_writes_to = functools.partial(_add_volume_to, prepared, key)
        with keys.discarding(key):
            quotas.commit(
                context.project_id, deltas, add_writes_to, type_id=volume.volume_type_id, largest=int(volume.size)
            )
    volume_types.note_name(prepared.kind)  # the transaction has checked it
    return volume


def _needed(context: Context, wanted: Mapping[str, Any]) -> list[reading.Key]:
    """The keys of what a request reads: the project's quotas, its source, and its default type where it may count."""
    sources = [(kind, wanted[name]) for name, kind in volume_sources.KINDS.items() if wanted.get(name)]
    named = [kind.key(context.project_id, id) for kind, id in sources if len(id) <= common.LONGEST_ID]
    default = [] if wanted.get('volume_type') or sources else [DefaultType.key(base.GLOBAL, context.project_id)]
    return [*quotas.keys(context.project_id), *named, *default]


def dry_run(context: Context, **wanted: Any) -> dict[str, Any]:
    """Return where the scheduler would place the volume now; nothing is recorded, reserved or claimed."""
    volume_types.forget()  # nothing is written, so no condition would notice an old type
    volume = prepare(context, **wanted).volume
    quotas.check_volume_size(context.project_id, int(volume.size))
    from chalicelib.operations import pools, scheduling  # and with them the scheduler, which no other request needs

    return scheduling.shown(context, scheduling.decide(volume, pools.states(fresh=True)))


def prepare(
    context: Context,
    *,
    size: int | None,
    name: str | None,
    description: str | None,
    availability_zone: str | None,
    volume_type: str | None,
    metadata: Mapping[str, str],
    snapshot_id: str | None,
    source_volid: str | None,
    multiattach: bool,
    scheduler_hints: Mapping[str, Any],
    backup_id: str | None = None,
    image_id: str | None = None,
    group_id: str | None = None,
) -> Prepared:
    """Return the record of a volume of ``size`` GiB (None: the source's), with its source and type.

    Raises NotFound for a source or type that is not there, Invalid for one that will not do.
    """
    source = volume_sources.find(
        context, snapshot_id=snapshot_id, source_volid=source_volid, backup_id=backup_id, image_id=image_id
    )
    gigabytes = volume_sources.size_of(size, source)
    image = _usable(context, image_id, gigabytes) if image_id else None
    kind = _type(context, volume_type or _type_of(image), source)
    group = group_members.joinable(context, group_id) if group_id is not None else None
    if group is not None:
        group_members.check_type(group, kind)
        group_members.check_backend(group, source.host if source else None)
    extra_specs.check_size(kind.extra_specs, kind.name, gigabytes)
    zone, zones = _zones(context, availability_zone, source, kind)
    volume = _record(context, gigabytes, kind, source, zone)
    _check_encryption(kind, source, image)
    volume.name, volume.description, volume.metadata = name, description, dict(metadata or {})
    volume.multiattach = multiattach or extra_specs.is_multiattach(kind.extra_specs)
    if volume.multiattach:
        authorize(context, 'volume:multiattach')
    volume.group_id = group.id if group else None
    volume.operation = common.operation(
        workflows.VOLUME['create'],
        scheduler_hints=dict(scheduler_hints or {}),
        availability_zones=zones,
        resource_backend=_backend(source, group),
        attempted=[],
        **({'image_id': image.id} if image else {}),
    )
    return Prepared(volume, source, kind)


def _backend(source: volume_sources.Source | None, group: Group | None) -> str | None:
    """The pool or backend that the volume must be on."""
    return (source.host if source else None) or (group.host if group else None)


class Copy(NamedTuple):
    """A volume that is made with its group; ``add_to`` adds it, its key and its source's reader to a transaction.

    ``kept``: types to keep, which may be those of other copies too.
    """

    volume: Volume
    key: keys.NewKey | None
    kept: list[VolumeType]
    add_to: Callable[[base.Transaction], None]


def copy_of(context: Context, record: Volume | Snapshot, group_id: str) -> Copy:
    """Return a volume like its source, in a new group; errors are those of ``prepare``."""
    ids = {_REFERENCES[record.resource]: record.id}
    nothing: dict[str, Any] = {
        'size': None,
        'name': None,
        'description': None,
        'availability_zone': None,
        'volume_type': None,
        'metadata': {},
        'snapshot_id': None,
        'source_volid': None,
        'multiattach': False,
        'scheduler_hints': {},
    }
    prepared = prepare(context, **{**nothing, **ids})
    prepared.volume.group_id = group_id
    key = _key(context, prepared)
    return Copy(prepared.volume, key, prepared.kept, functools.partial(_add_record_to, prepared, key))


def _check_encryption(kind: VolumeType, source: volume_sources.Source | None, image: Image | None) -> None:
    """Refuse a volume whose data would be unreadable, or unencrypted although its type is encrypted."""
    encrypted = kind.encryption is not None
    if source and encrypted != (source.encryption_key_id is not None):
        raise errors.InvalidInput(
            reason=f'The volume type {kind.name} is {"" if encrypted else "not "}encrypted, and the source is '
            f'{"not" if encrypted else "encrypted"}: choose a type with the encryption of the source.'
        )
    if image and encrypted:
        raise errors.InvalidInput(
            reason=f'The volume type {kind.name} is encrypted, and image {image.id} cannot be encrypted on its way to '
            'a volume here: choose a type without encryption, or copy the image onto an empty volume in a server.'
        )
    if encrypted and extra_specs.is_multiattach(kind.extra_specs):
        raise errors.InvalidVolume(reason='An encrypted volume cannot be attached to several servers (multiattach).')


def _key(context: Context, prepared: Prepared) -> keys.NewKey | None:
    """The key of a new volume whose type is encrypted: its source's, stored again for it, or a new one."""
    volume, source, encryption = prepared.volume, prepared.source, prepared.kind.encryption
    if encryption is None:
        return None
    locked = source.encryption_key_id if source else None
    if source is None or locked is None:
        key = keys.create(context, encryption)
    else:
        key = keys.clone(context, source.record.project_id, locked, to=volume.project_id)
    volume.encryption_key_id = key.id
    return key


def _usable(context: Context, image_id: str, size: int) -> Image:
    """The image, when a volume of ``size`` GiB may be made from it."""
    from chalicelib.operations import images  # and with it Glance's port, which no other request needs

    return images.usable(context, image_id, size)


def _type_of(image: Image | None) -> str | None:
    """Return the volume type that a property of the image names (Cinder's cinder_img_volume_type)."""
    return image.properties.get('cinder_img_volume_type') if image else None


def _type(context: Context, id_or_name: str | None, source: volume_sources.Source | None) -> VolumeType:
    """Return the requested type, else the source's, else the default one."""
    inherited = volume_types.read_if_there(source.type_id) if source else None
    if id_or_name is None:
        return inherited or volume_types.default(context)
    wanted = volume_types.find(context, id_or_name)
    if inherited and wanted.id != inherited.id and not _same_backend(inherited, wanted):
        hint = (
            'recommend omitting the type argument'
            if source and isinstance(source.record, Snapshot)
            else ('either match source volume, or omit type argument')
        )
        raise errors.InvalidInput(
            reason=f'Invalid volume_type provided: {wanted.id} (requested type is not compatible; {hint}).'
        )
    return inherited if inherited and wanted.id == inherited.id else wanted


def _same_backend(one: VolumeType, other: VolumeType) -> bool:
    """A copy is made on its source's backend, so another type must name the same one (Cinder's _retype_is_possible)."""
    names = {one.extra_specs.get('volume_backend_name'), other.extra_specs.get('volume_backend_name')}
    return len(names) == 1 and None not in names


def _zones(
    context: Context, asked: str | None, source: volume_sources.Source | None, kind: VolumeType
) -> tuple[str | None, list[str]]:
    """Return the one zone, or those of the type that the scheduler may choose from."""
    of_type = extra_specs.availability_zones(kind.extra_specs)
    usable = None if of_type is None else services.known_zones(context, of_type)
    if usable == []:
        raise errors.InvalidTypeAvailabilityZones(az=of_type)
    of_source = source.volume.availability_zone if source and source.volume else None
    zone = asked or of_source or (settings().default_availability_zone if usable is None else None)
    if zone is None:
        return None, usable or []
    if zone not in (services.known_zones(context, [zone]) if usable is None else usable):
        raise errors.InvalidAvailabilityZone(az=zone)
    if source and of_source and zone != of_source:
        _, name, _ = volume_sources.ORIGINS[source.record.resource]
        raise errors.InvalidInput(reason=f'Volume must be in the same availability zone as the {name}')
    return zone, []


def _record(
    context: Context, size: int, kind: VolumeType, source: volume_sources.Source | None, zone: str | None
) -> Volume:
    """Return the record as it is first written, without the fields of the request."""
    row = workflows.VOLUME['create']
    volume = Volume(
        context.project_id,
        str(uuid.uuid4()),
        created_at=base.now(),
        user_id=context.user_id,
        size=size,
        availability_zone=zone,
        volume_type_id=kind.id,
        replication_status=states.DISABLED,
        status=row.running,
        owner=context.request_id,
        in_flight='1',
        deadline=base.first_deadline(row),
    )
    if source:
        volume_sources.copy_facts(volume, source)
    return volume


def _add_volume_to(prepared: Prepared, key: keys.NewKey | None, transaction: base.Transaction) -> None:
    for kind in prepared.kept:
        volume_types.add_check_to(transaction, kind)
    _add_record_to(prepared, key, transaction)
    volume = prepared.volume
    if volume.group_id is not None:
        group_members.add_member_to(transaction, volume)


def _add_record_to(prepared: Prepared, key: keys.NewKey | None, transaction: base.Transaction) -> None:
    volume, source, _ = prepared
    transaction.put(volume, Volume.id.does_not_exist())
    if key:
        key.add_to(transaction)
    if source:
        volume_sources.add_reader_to(transaction, source.record, volume)
