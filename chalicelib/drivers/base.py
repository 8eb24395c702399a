"""The contract between the service and a storage backend, in Cinder's verbs.

Rules for every verb:

* **Idempotent.** A verb may be repeated after a crash at any point, with the same result: a create first looks up the
  object, a delete of a missing object succeeds.
* **Errors** are translated by the driver into ``chalicelib.errors``: ``BackendUnavailable`` (down, slow,
  unintelligible: another candidate may succeed), ``BackendFull`` (no space: another candidate may succeed),
    ``BackendMisconfigured``, ``VolumeIsBusy`` / ``SnapshotIsBusy`` (the record returns to ``available``),
    ``ProviderNotFound`` (a required source is missing), ``NotSupported``, ``InvalidConnector`` (400).
    A failed verb leaves nothing behind that a repeat or a delete would not remove.
* **Names** on the backend are ``volume-<id>`` and ``snapshot-<id>`` (Cinder's volume_name_template), so that an
  orphan is recognised by its name alone.
* A returned ``ModelUpdate`` holds only fields of the record that the driver owns (``provider_location``,
  ``provider_id``), never a secret.

``Capabilities`` declare the optional verbs; the service emulates missing ones by copying data.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from chalicelib.device import BlockDevice, Changes
from chalicelib.errors import NotSupported

#: Fields of the record that a driver may set.
ModelUpdate = Mapping[str, Any]

#: os-brick's description of a host: initiator, ip, host, multipath, instance, ...
Connector = Mapping[str, Any]

#: ``{'driver_volume_type': ..., 'data': {...}}``, exactly in os-brick's format.
ConnectionInfo = dict[str, Any]

GIB = 1024**3


@dataclasses.dataclass(frozen=True, slots=True)
class VolumeRef:
    """The facts of a volume for drivers. ``size`` in GiB."""

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
    """The facts of a snapshot for drivers. ``size`` in GiB is that of the volume when it was taken.

    ``kept``: a finished backup's own snapshot, for ``changes_since``. It counts only while the backend has it marked as
    kept: a late request may have taken another one under the same name.
    """

    id: str
    size: int
    volume: VolumeRef
    provider_id: str | None = None
    kept: bool = False

    @property
    def name(self) -> str:
        return f'snapshot-{self.id}'


@dataclasses.dataclass(frozen=True, slots=True)
class ManageableObject:
    """An object of a backend that may be managed. ``size`` in GiB, rounded up.

    The caller checks whether its name already belongs to a record.
    """

    #: The argument of manage_existing: {'source-name': ...} or {'source-id': ...}.
    reference: Mapping[str, str]
    size: int
    #: Why it cannot be managed as it is; None when it can.
    reason_not_safe: str | None = None
    extra_info: str | None = None
    #: For a snapshot: the reference of its volume.
    source_reference: Mapping[str, str] | None = None
    #: The provider_id of its record, where the backend has its own names.
    provider_id: str | None = None


#: Days that a snapshot is kept for ``changes_since`` at most: default of the option keep_backup_snapshots_days.
KEPT_DAYS = 30


class Kept(NamedTuple):
    """Why a snapshot is on the backend that no record has: for ``changes_since``, or while its volume is restored.

    ``volume`` is the name of its volume, ``since`` the time in seconds since the epoch.
    """

    volume: str
    since: float


@dataclasses.dataclass(frozen=True, slots=True)
class StoredObject:
    """A volume or snapshot on the backend. ``size`` in bytes.

    ``deployment`` is the mark of the deployment that created it; None for an object without a mark. ``kept``: of a
    snapshot that ``retire_snapshot`` or ``changes_of_restore`` kept.
    """

    name: str
    pool: str
    size: int
    deployment: str | None = None
    kept: Kept | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class StoredExport:
    """An export on the backend. ``host`` is the initiator, igroup or instance that has it.

    ``export_id`` is None where the backend does not identify the export; it is removed with the object's last export.
    """

    object: str
    pool: str
    export_id: str | None
    host: str


@dataclasses.dataclass(frozen=True, slots=True)
class Capabilities:
    """What a driver supports beyond the required verbs; docs and fallbacks read it."""

    storage_protocol: str
    #: ``open_volume`` opens the volume itself for workers, to read and to write. Without it they read a snapshot, and
    #: data is restored as a whole (``open_restore``).
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
    #: retype: some changes of a type happen in place.
    retype: bool = False
    #: Each export has its own account and sessions; otherwise all exports of a volume to one host are one on the
    #: backend.
    export_accounts: bool = False
    #: A host with a read-only export cannot write; otherwise only the host enforces access_mode.
    read_only_exports: bool = False
    #: create_group_snapshot: snapshots of several volumes at one point in time. Such a backend also reports
    #: ``consistent_group_snapshot_enabled``, which group types require.
    consistent_group_snapshots: bool = False
    #: Volumes share targets, so a host must not log out of one when it detaches a volume (its ``shared_targets``).
    shared_targets: bool = False
    #: A new volume is guaranteed to read as zeroes.
    zeroed_volumes: bool = False
    #: changes_since: a backup need not read blocks that are unchanged since its parent.
    changed_blocks: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One option of a driver in the backends document. ``secret``: its value comes from Secrets Manager only."""

    kind: type[str | int | float | bool | list | dict]  # type: ignore[type-arg]  # JSON's own types
    required: bool = False
    default: Any = None
    secret: bool = False


class Driver(abc.ABC):
    """One configured backend. Instances are cheap, have no state but clients, and serve one thread at a time."""

    #: The allowed ``options`` by name; the registry rejects others before it creates the driver.
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
        """Create an empty volume of ``size`` GiB; an existing one of that name and size is the result."""

    @abc.abstractmethod
    def create_volume_from_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef) -> ModelUpdate:
        """Create a volume with the snapshot's data, extended to ``volume.size``. Raises ProviderNotFound."""

    @abc.abstractmethod
    def create_cloned_volume(self, volume: VolumeRef, source: VolumeRef) -> ModelUpdate:
        """Create a volume with a point-in-time copy of the source's data, extended to ``volume.size``."""

    @abc.abstractmethod
    def delete_volume(self, volume: VolumeRef) -> None:
        """Remove the volume and its exports; a missing one is success. Raises VolumeIsBusy while a session uses it."""

    @abc.abstractmethod
    def extend_volume(self, volume: VolumeRef, new_size: int) -> None:
        """Grow to ``new_size`` GiB; a volume of that size is success. Never shrinks.

        Raises BackendFull, NotSupported or VolumeIsBusy, each with the volume unchanged.
        """

    def get_volume_size(self, volume: VolumeRef) -> int | None:
        """Return the volume's size on the backend in GiB; None where the driver cannot determine it.

        It decides whether an extend whose answer was lost took effect. Raises ProviderNotFound.
        """
        return None

    @abc.abstractmethod
    def create_snapshot(self, snapshot: SnapshotRef) -> ModelUpdate:
        """Take a point-in-time copy of the volume's data under the snapshot's name."""

    def create_group_snapshot(self, snapshots: Sequence[SnapshotRef]) -> list[ModelUpdate]:
        """Take snapshots of several volumes at one point in time; one result for each, in their order.

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
        """Export the volume to this connector only; return the connection info.

        ``export_id`` names the export: the attachment's id, or another UUID. The same export_id returns the same
        result again, secret included. ``data`` has os-brick's format: for iSCSI target_portal, target_iqn, target_lun,
        target_discovered, auth_method, auth_username, auth_password, volume_id. Raises InvalidConnector.
        """

    @abc.abstractmethod
    def terminate_connection(self, volume: VolumeRef, export_id: str | None) -> None:
        """Remove the export ``export_id`` with its sessions; a missing one is success.

        None removes every export of the volume (Cinder: connector=None).
        """

    @abc.abstractmethod
    def open_volume(self, volume: VolumeRef, export_id: str, mode: Literal['rw', 'ro']) -> BlockDevice:
        """Open the volume's data for a worker of the service itself.

        Several workers may open the same volume under the same ``export_id``; each gets its own session.
        The caller closes the device; the export stays until ``close_volume``. Where ``capabilities`` lack
        ``opens_volumes``, 'ro' is a copy from the time of the first open, and 'rw' raises NotSupported.
        """

    @abc.abstractmethod
    def close_volume(self, volume: VolumeRef, export_id: str) -> None:
        """Remove the export that ``open_volume`` made; a missing one is success."""

    @abc.abstractmethod
    def open_snapshot(self, snapshot: SnapshotRef, export_id: str) -> BlockDevice:
        """Open a snapshot's data for reading, like ``open_volume``.

        Raises NotReady while the backend still prepares it: retry later.
        """

    @abc.abstractmethod
    def close_snapshot(self, snapshot: SnapshotRef, export_id: str) -> None:
        """Remove the export that ``open_snapshot`` made; a missing one is success."""

    def changes_since(self, snapshot: SnapshotRef, older: SnapshotRef) -> Changes | None:
        """Return a function that lists the differences of a snapshot from an older snapshot of the same volume.

        None, also of the function, when they cannot be determined: the older one is missing, or the volume's data was
        replaced since. A missed difference would damage backups unnoticed. Only with ``capabilities.changed_blocks``.
        """
        return None

    def retire_snapshot(self, snapshot: SnapshotRef) -> None:
        """Release a backup's snapshot: delete it, or keep it for ``changes_since``; a missing one is success.

        A kept snapshot is marked in the ``inventory``. It is deleted by ``delete_snapshot``, with its volume, or when
        the next one of the volume is kept; the others after ``keep_backup_snapshots_days``, by
        tasks/kept_snapshots.py.
        """
        self.delete_snapshot(snapshot)

    def open_restore(self, volume: VolumeRef, export_id: str) -> BlockDevice:
        """Open a device for writing the volume's complete new data, by any number of workers.

        A driver with ``opens_volumes`` opens the volume itself. Others open an empty device of its size, which
        replaces the volume at ``complete_restore``; until then the volume is unchanged.
        """
        return self.open_volume(volume, export_id, 'rw')

    def changes_of_restore(self, volume: VolumeRef, export_id: str, older: SnapshotRef) -> Changes | None:
        """Freeze a volume that is being restored under this export, and list its differences from a snapshot.

        None, also of the function, as in ``changes_since``. Each worker calls it before its first write; the first call
        freezes the volume, until ``complete_restore`` or ``cancel_restore``. A volume that is frozen again after some
        writes is right, too: what was written then differs from the snapshot. Only with ``changed_blocks`` and
        ``opens_volumes``.
        """
        return None

    def complete_restore(
        self, volume: VolumeRef, export_id: str, written: Callable[[], Iterable[tuple[int, int]]]
    ) -> ModelUpdate:
        """Make the data written under this export the volume's data, and remove the export.

        ``written`` yields (offset, length) in bytes of all written data, ascending. Raises VolumeIsBusy.
        """
        self.close_volume(volume, export_id)
        return {}

    def cancel_restore(self, volume: VolumeRef, export_id: str) -> None:
        """Remove the export, and data written apart from the volume; a missing one is success."""
        self.close_volume(volume, export_id)

    def revert_to_snapshot(self, volume: VolumeRef, snapshot: SnapshotRef) -> ModelUpdate:
        """Restore the volume to the snapshot's data, under its own id; its size stays.

        Only with ``capabilities.revert``. Raises BackendFull, NotSupported, VolumeIsBusy (while a session uses it) or
        SnapshotIsBusy, each with the volume unchanged, and ProviderNotFound.
        """
        raise self._unsupported('revert_to_snapshot')

    def retype(self, volume: VolumeRef, wanted: VolumeRef) -> ModelUpdate | None:
        """Change a volume in place to the extra_specs, qos_specs and multiattach of ``wanted``.

        None: only a migration can do that, and nothing was changed. The volume may be attached.
        Only with ``capabilities.retype``.
        """
        raise self._unsupported('retype')

    def manage_existing_get_size(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> int:
        """Return the size in GiB, rounded up, of an object that is to be managed in the volume's pool.

        Changes nothing. Raises ManageExistingInvalidReference, also for an object that is already managed.
        """
        raise self._unsupported('manage_existing')

    def manage_existing(self, volume: VolumeRef, existing_ref: Mapping[str, str]) -> ModelUpdate:
        """Rename an existing object to the volume's name; one that was renamed before is the result."""
        raise self._unsupported('manage_existing')

    def get_manageable_volumes(self, pool: str) -> list[ManageableObject]:
        """Return the volumes of one pool, managed ones included, unordered. Only with ``capabilities.manage``."""
        raise self._unsupported('get_manageable_volumes')

    def unmanage(self, volume: VolumeRef) -> None:  # noqa: B027 - most backends need nothing
        """Stop managing a volume: its data and size stay, but ``list_objects`` no longer returns it (its name
        or mark changes); a missing one is success. The default suits a driver without ``list_objects``.
        """

    def manage_existing_snapshot_get_size(self, snapshot: SnapshotRef, existing_ref: Mapping[str, str]) -> int:
        """Like ``manage_existing_get_size``, for a snapshot of ``snapshot.volume``."""
        raise self._unsupported('manage_existing_snapshot')

    def manage_existing_snapshot(self, snapshot: SnapshotRef, existing_ref: Mapping[str, str]) -> ModelUpdate:
        """Like ``manage_existing``."""
        raise self._unsupported('manage_existing_snapshot')

    def get_manageable_snapshots(self, pool: str) -> list[ManageableObject]:
        """Return the snapshots of one pool, managed ones included. Only with ``capabilities.manage_snapshots``."""
        raise self._unsupported('get_manageable_snapshots')

    def unmanage_snapshot(self, snapshot: SnapshotRef) -> None:  # noqa: B027 - as above
        """Like ``unmanage``."""

    def inventory(self) -> list[StoredObject]:
        """Return all volumes and snapshots on the backend with Cinder's name templates, also of other deployments.

        tasks/backend_reconciliation.py compares them with the records, and deletes this deployment's orphans.
        """
        raise self._unsupported('inventory')

    def list_objects(self) -> list[str]:
        """Return the names of the inventory, without kept snapshots."""
        return [found.name for found in self.inventory() if found.kept is None]

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
