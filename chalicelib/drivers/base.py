"""The contract between the service and a storage backend, in Cinder's verbs.

Rules that hold for every verb:

* **Idempotent.** A verb may be repeated after a crash at any point and then gives the same result: a create looks up
  what exists first, a delete of a missing object succeeds.
* **Errors** are translated at the driver's edge into ``chalicelib.errors``: ``BackendUnavailable`` (down, slow,
  unintelligible: another candidate may do), ``BackendFull`` (no space: another candidate may do),
  ``BackendMisconfigured``, ``VolumeIsBusy`` / ``SnapshotIsBusy`` (the record goes back to ``available``),
  ``ProviderNotFound`` (a source that must exist is gone), ``NotSupported``, ``InvalidConnector`` (400).
  A failed verb leaves nothing behind that a repeat or a delete would not find.
* **Names** on the backend are ``volume-<id>`` and ``snapshot-<id>`` (Cinder's volume_name_template), so that an
  orphan can be found and told apart by its name alone.
* A returned ``ModelUpdate`` holds only fields of the record that the driver owns (``provider_location``,
  ``provider_id``), never a secret.

Optional verbs are declared in ``Capabilities``; what a driver lacks is done above it by copying data.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from chalicelib.device import BlockDevice, Changes
from chalicelib.errors import NotSupported

#: Fields of the record that a driver may set.
ModelUpdate = Mapping[str, Any]

#: What os-brick reports of a host: initiator, ip, host, multipath, instance, ...
Connector = Mapping[str, Any]

#: ``{'driver_volume_type': ..., 'data': {...}}``, exactly as os-brick reads it.
ConnectionInfo = dict[str, Any]

GIB = 1024**3


@dataclasses.dataclass(frozen=True, slots=True)
class VolumeRef:
    """What a driver may know of a volume. ``size`` in GiB."""

    id: str
    size: int
    project_id: str
    host: str = ''
    name_id: str = ''
    provider_id: str | None = None
    provider_location: str | None = None
    availability_zone: str | None = None
    multiattach: bool = False
    extra_specs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    qos_specs: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """The object's name on the backend; ``name_id`` differs from ``id`` after a migration."""
        return f'volume-{self.name_id or self.id}'

    @property
    def pool(self) -> str:
        """The part after '#' of ``host@backend#pool``."""
        return self.host.partition('#')[2]


@dataclasses.dataclass(frozen=True, slots=True)
class SnapshotRef:
    """What a driver may know of a snapshot. ``size`` in GiB is that of the volume when it was taken."""

    id: str
    size: int
    volume: VolumeRef
    provider_id: str | None = None

    @property
    def name(self) -> str:
        return f'snapshot-{self.id}'


@dataclasses.dataclass(frozen=True, slots=True)
class ManageableObject:
    """An object of a backend that may be brought under management. ``size`` in GiB, rounded up.

    Whether its name is that of a record already is found out above the driver.
    """

    #: What manage_existing takes: {'source-name': ...} or {'source-id': ...}.
    reference: Mapping[str, str]
    size: int
    #: Why it cannot be taken as it is; None when it can.
    reason_not_safe: str | None = None
    extra_info: str | None = None
    #: A snapshot's: the reference of the volume that it is of.
    source_reference: Mapping[str, str] | None = None
    #: What our record of it would hold as provider_id, where names on the backend are not ours.
    provider_id: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class StoredObject:
    """A volume or snapshot as the backend has it. ``size`` in bytes.

    ``deployment`` is the mark of the deployment that made it; None for an object without a mark.
    """

    name: str
    pool: str
    size: int
    deployment: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class StoredExport:
    """An export as the backend has it. ``host`` is the initiator, igroup or instance that it leads to.

    ``export_id`` is None where the backend does not identify the export; it goes with all others of the object.
    """

    object: str
    pool: str
    export_id: str | None
    host: str


@dataclasses.dataclass(frozen=True, slots=True)
class Capabilities:
    """What a driver can do beyond the required verbs; docs and fallbacks read it."""

    storage_protocol: str
    #: ``open_volume`` gives workers the volume itself, to read and to write. Without it they read what was frozen, and
    #: data comes in as a whole (``open_restore``).
    opens_volumes: bool = True
    #: A snapshot of an attached volume is consistent at one point in time.
    snapshot_attached: bool = False
    #: ``create_cloned_volume`` works on the backend, without moving the data through a worker.
    clone: bool = False
    revert: bool = False
    online_extend: bool = False
    multiattach: bool = False
    #: manage_existing, manage_existing_get_size, get_manageable_volumes, and the same of snapshots.
    manage: bool = False
    manage_snapshots: bool = False
    #: retype: some changes of a type are done in place.
    retype: bool = False
    #: Each path has an account and sessions of its own; else the paths of one host to a volume are one to the backend.
    path_accounts: bool = False
    #: A host that was given a path in mode ro cannot write; else it keeps to access_mode by itself.
    read_only_paths: bool = False
    #: create_group_snapshot: snapshots of several volumes as of one moment. Such a backend also reports
    #: ``consistent_group_snapshot_enabled``, which group types ask for.
    consistent_group_snapshots: bool = False
    #: Volumes share targets, so a host must not leave one for a volume that it detaches (its ``shared_targets``).
    shared_targets: bool = False
    #: A new volume surely reads as zeroes.
    zeroed_volumes: bool = False
    #: changes_since: a backup need not read again what has not changed since its parent.
    changed_blocks: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One option of a driver in the backends document. ``secret``: its value comes from Secrets Manager only."""

    kind: type[str | int | float | bool | list | dict]  # type: ignore[type-arg]  # JSON's own types
    required: bool = False
    default: Any = None
    secret: bool = False


class Driver(abc.ABC):
    """One configured backend. Instances are cheap, hold no state but clients, and serve one thread at a time."""

    #: What ``options`` may hold, by name; the registry refuses anything else before the driver is made.
    OPTIONS: ClassVar[Mapping[str, Option]] = {}

    capabilities: Capabilities

    def __init__(self, backend: str, options: Mapping[str, Any]) -> None:
        """``backend`` is the name in the backends document; ``options`` are its validated options, secrets resolved."""
        self.backend = backend
        self.options = options

    @abc.abstractmethod
    def check_for_setup_error(self) -> None:
        """Reach the backend once. Raises BackendUnavailable or BackendMisconfigured."""

    @abc.abstractmethod
    def get_volume_stats(self) -> dict[str, Any]:
        """Report capacities and capabilities in Cinder's form: volume_backend_name, vendor_name, driver_version,
        storage_protocol and ``pools``, each with pool_name, total_capacity_gb, free_capacity_gb,
        provisioned_capacity_gb, reserved_percentage, thin_provisioning_support, max_over_subscription_ratio, ...
        """

    @abc.abstractmethod
    def create_volume(self, volume: VolumeRef) -> ModelUpdate:
        """Make an empty volume of ``size`` GiB; an existing one of that name and size is the result."""

    @abc.abstractmethod
    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef) -> ModelUpdate:
        """Make a volume with the snapshot's data, extended to ``volume.size``. Raises ProviderNotFound."""

    @abc.abstractmethod
    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef) -> ModelUpdate:
        """Make a volume with the source's data as of one moment, extended to ``volume.size``."""

    @abc.abstractmethod
    def delete_volume(self, volume: VolumeRef) -> None:
        """Remove the volume and its exports; a missing one is success. Raises VolumeIsBusy while a session uses it."""

    @abc.abstractmethod
    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        """Grow to ``new_size`` GiB; a volume that already has it is success. Never shrinks.

        Raises BackendFull, NotSupported or VolumeIsBusy, each with the volume as it was.
        """

    def get_volume_size(self, volume: VolumeRef) -> int | None:
        """Return the size in GiB that the volume has on the backend; None where the driver cannot say.

        It decides what became of an extension whose answer was lost. Raises ProviderNotFound.
        """
        return None

    @abc.abstractmethod
    def create_snapshot(self, snapshot: SnapshotRef) -> ModelUpdate:
        """Freeze the volume's data as of one moment under the snapshot's name."""

    def create_group_snapshot(self, snapshots: Sequence[SnapshotRef]) -> list[ModelUpdate]:
        """Freeze the data of several volumes as of one moment; one answer for each, in their order.

        All or nothing: a failure leaves none of them. Only with ``capabilities.consistent_group_snapshots``.
        """
        raise self._unsupported('create_group_snapshot')

    @abc.abstractmethod
    def delete_snapshot(self, snapshot: SnapshotRef) -> None:
        """Remove the snapshot; a missing one is success. Raises SnapshotIsBusy."""

    @abc.abstractmethod
    def initialize_connection(
        self, volume: VolumeRef, connector: Connector, export_id: str, mode: Literal['rw', 'ro'] = 'rw'
    ) -> ConnectionInfo:
        """Let this connector, and no other, reach the volume; return how.

        ``export_id`` names this path: the attachment's id, or another UUID. The same export_id again gives the same
        answer, secret included. ``data`` follows os-brick: for iSCSI target_portal, target_iqn, target_lun,
        target_discovered, auth_method, auth_username, auth_password, volume_id. Raises InvalidConnector.
        """

    @abc.abstractmethod
    def terminate_connection(self, volume: VolumeRef, export_id: str | None) -> None:
        """Take away the one path that ``export_id`` names, sessions included; a missing one is success.

        None takes every path of the volume away (Cinder: connector=None).
        """

    @abc.abstractmethod
    def open_volume(self, volume: VolumeRef, export_id: str, mode: Literal['rw', 'ro']) -> BlockDevice:
        """Open the volume's data for a worker of the service itself.

        Several workers may open the same volume under the same ``export_id``; each gets a session of its own.
        The device is closed by the caller; the path stays until ``close_volume``. Where ``capabilities`` lack
        ``opens_volumes``, 'ro' is a copy of the moment when the path was first opened, and 'rw' raises NotSupported.
        """

    @abc.abstractmethod
    def close_volume(self, volume: VolumeRef, export_id: str) -> None:
        """Take away the path that ``open_volume`` made; a missing one is success."""

    @abc.abstractmethod
    def open_snapshot(self, snapshot: SnapshotRef, export_id: str) -> BlockDevice:
        """Open a snapshot's data for reading, as ``open_volume`` does a volume's.

        Raises NotReady while the backend still makes it readable: repeat later.
        """

    @abc.abstractmethod
    def close_snapshot(self, snapshot: SnapshotRef, export_id: str) -> None:
        """Take away the path that ``open_snapshot`` made; a missing one is success."""

    def changes_since(self, snapshot: SnapshotRef, older: SnapshotRef) -> Changes | None:
        """Tell what a snapshot has of the volume's data that an older snapshot of it has not, or has otherwise.

        None when that cannot be known: the older one is gone, or was taken of data that were replaced since. To leave
        one difference out would damage backups unseen. Only with ``capabilities.changed_blocks``.
        """
        return None

    def retire_snapshot(self, snapshot: SnapshotRef) -> None:
        """Done with what a backup was made of: delete it, or keep it for ``changes_since``; a missing one is success.

        One that is kept is not in ``list_objects``. It goes with ``delete_snapshot``, with its volume, or when the next
        one of that volume is kept.
        """
        self.delete_snapshot(snapshot)

    def open_restore(self, volume: VolumeRef, export_id: str) -> BlockDevice:
        """Open what is to become all of the volume's data, for writing by any number of workers.

        A driver with ``opens_volumes`` opens the volume itself. Any other one opens an empty device of its size, which
        takes the volume's place at ``complete_restore``; until then the volume is as it was.
        """
        return self.open_volume(volume, export_id, 'rw')

    def complete_restore(
        self, volume: VolumeRef, export_id: str, written: Callable[[], Iterable[tuple[int, int]]]
    ) -> ModelUpdate:
        """Make what was written under this path the volume's data, and take the path away.

        ``written`` tells the (offset, length) in bytes of all that was, ascending. Raises VolumeIsBusy.
        """
        self.close_volume(volume, export_id)
        return {}

    def cancel_restore(self, volume: VolumeRef, export_id: str) -> None:
        """Take the path away, and what was written if it is apart from the volume; a missing one is success."""
        self.close_volume(volume, export_id)

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef) -> ModelUpdate:
        """Bring the volume back to the snapshot's data, under its own id; its size stays.

        Only with ``capabilities.revert``. Raises BackendFull, NotSupported, VolumeIsBusy (while a session uses it) or
        SnapshotIsBusy, each with the volume as it was, and ProviderNotFound.
        """
        raise self._unsupported('revert_to_snapshot')

    def retype(self, volume: VolumeRef, wanted: VolumeRef) -> ModelUpdate | None:
        """Change a volume in place to what ``wanted`` (its extra_specs, qos_specs, multiattach) says.

        None: only a move of the data can do that, and nothing was changed. May meet an attached volume.
        Only with ``capabilities.retype``.
        """
        raise self._unsupported('retype')

    def manage_existing_get_size(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> int:
        """Return the size in GiB, rounded up, of an object that is to come under management in the volume's pool.

        Changes nothing. Raises ManageExistingInvalidReference, also for an object that is ours already.
        """
        raise self._unsupported('manage_existing')

    def manage_existing(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> ModelUpdate:
        """Bring an existing object under the volume's name; one that was brought there already is the result."""
        raise self._unsupported('manage_existing')

    def get_manageable_volumes(self, pool: str) -> list[ManageableObject]:
        """Return the volumes of one pool, ours included, in no order. Only with ``capabilities.manage``."""
        raise self._unsupported('get_manageable_volumes')

    def unmanage(self, volume: VolumeRef) -> None:  # noqa: B027 - most backends need nothing
        """Let go of a volume: its data and size stay, but ``list_objects`` no longer tells it (its name
        or mark changes); a missing one is success. The default suits a driver without ``list_objects``.
        """

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotRef, existing_ref: Mapping[str, str]) -> int:
        """As ``manage_existing_get_size``, of an object that is a snapshot of ``snapshot.volume``."""
        raise self._unsupported('manage_existing_snapshot')

    def manage_existing_snapshot(self, snapshot: SnapshotRef, existing_ref: Mapping[str, str]) -> ModelUpdate:
        """As ``manage_existing``."""
        raise self._unsupported('manage_existing_snapshot')

    def get_manageable_snapshots(self, pool: str) -> list[ManageableObject]:
        """Return the snapshots of one pool, ours included. Only with ``capabilities.manage_snapshots``."""
        raise self._unsupported('get_manageable_snapshots')

    def unmanage_snapshot(self, snapshot: SnapshotRef) -> None:  # noqa: B027 - as above
        """As ``unmanage``."""

    def inventory(self) -> list[StoredObject]:
        """Return all volumes and snapshots on the backend that carry our name templates, other deployments' included.

        tasks/backend_reconciliation.py compares them with the records, and removes what is ours and unknown.
        """
        raise self._unsupported('inventory')

    def list_objects(self) -> list[str]:
        """Return the names of the inventory."""
        return [found.name for found in self.inventory()]

    def list_exports(self) -> list[StoredExport]:
        """Return the exports of all objects in the inventory, those of workers included."""
        raise self._unsupported('list_exports')

    def end_unnamed_export(self, export: StoredExport) -> None:
        """Take away an export that ``list_exports`` returned without an id, unless an id names it by now.

        A missing one is success. Only drivers that return such exports have it.
        """
        raise self._unsupported('end_unnamed_export')

    def list_idle_access(self) -> list[str]:
        """Return what lets an initiator log in that no object is exported to, by its name on the backend.

        Accounts and groups of initiators that a backend keeps apart from exports; [] where it keeps none.
        """
        return []

    def remove_idle_access(self, name: str) -> None:  # noqa: B027 - most backends keep none
        """Remove it, unless an export uses it by now; a missing one is success. Attachments may be made meanwhile."""

    def _unsupported(self, operation: str) -> NotSupported:
        return NotSupported(backend=self.backend, operation=operation, reason='the driver does not offer it')
