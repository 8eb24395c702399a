"""Who may reach an object: the journal's exports, served by tgtd's targets.

The caller holds the object's lock.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from appliance.errors import ApplianceError, Conflict
from appliance.journal import Export, Journal, Record
from appliance.keys import Keys
from appliance.names import Key
from appliance.store import Store
from appliance.targets import LUN, Lun, Targets

#: Cinder's target_prefix.
IQN_PREFIX = 'iqn.2010-10.org.openstack:'


class Exports:
    def __init__(self, store: Store, journal: Journal, targets: Targets, keys: Keys) -> None:
        self._store = store
        self._journal = journal
        self._targets = targets
        self._keys = keys

    def put(self, key: Key, export_id: str, initiator: str, mode: str) -> Export:
        """Let an initiator in. An export that was promised before stays promised, even if it cannot be served now.

        One for another initiator or mode is replaced. Raises Conflict if it is in use.
        """
        export = self._journal.get(key).exports.get(export_id)
        if export and (export.initiator, export.mode) == (initiator, mode):
            self._serve(key, export_id, export)
            return export
        if export:
            self._refuse_used(key, export_id, export)
            self.remove(key, export_id)
        record = self._journal.get(key)
        export = Export(initiator, mode, _target(key, record, initiator, mode))
        self._journal.put(key, record.with_export(export_id, export))
        try:
            self._serve(key, export_id, export)
        except ApplianceError:
            with contextlib.suppress(ApplianceError):  # the first error says more
                self.remove(key, export_id)
            raise
        return export

    def remove(self, key: Key, export_id: str) -> None:
        """Take away one path, its sessions included; a missing one is success.

        The journal forgets last, so that a repeat finds what is left to do.
        """
        record = self._journal.get(key)
        export, left = record.exports.get(export_id), record.without_export(export_id)
        if export is None:
            return
        self._targets.expel(export.iqn, export.initiator, self._keys.account(key.name, export_id).user)
        if export.iqn not in left.targets:
            self._targets.close(export.iqn)
        self._journal.put(key, left)

    def remove_all(self, key: Key) -> None:
        for export_id in self._journal.get(key).exports:
            self.remove(key, export_id)

    def hold(self, key: Key) -> None:
        """Let nobody log in from now on. Raises Busy if somebody has."""
        held: list[str] = []
        try:
            for iqn in self._journal.get(key).targets:
                self._targets.hold(iqn)
                held.append(iqn)
        except ApplianceError:
            for iqn in held:
                self._targets.release(iqn)
            raise

    def unload(self, key: Key) -> None:
        """Close the object, which is held, at tgtd: ``refresh`` with ``replaced`` serves it again."""
        for iqn in self._journal.get(key).targets:
            self._targets.unload(iqn)

    def refresh(self, key: Key, replaced: bool = False) -> None:
        """Show the object's size, or with ``replaced`` its new data, to those who are or will be logged in."""
        for iqn, mode in self._journal.get(key).targets.items():
            lun, shown = self._lun(key, mode), self._targets.size(iqn)
            if shown is not None and (replaced or shown != lun.size):
                self._targets.reload(iqn, lun)

    def is_writable(self, key: Key) -> bool:
        return 'rw' in self._journal.get(key).targets.values()

    def restore(self, adopt: bool) -> None:
        """Serve every export of the journal. One that cannot be served does not keep the others away."""
        records = self._journal.items()
        if adopt:
            self._targets.adopt({iqn for _, record in records for iqn in record.targets})
        for key, record in records:
            for export_id, export in record.exports.items():
                try:
                    self._serve(key, export_id, export)
                except ApplianceError as error:
                    print(f'export {export_id} of {key} is not served: {error}', file=sys.stderr)

    def sessions(self) -> list[dict[str, str]]:
        return [
            {'pool': key.pool, 'object': key.name, 'iqn': iqn, 'initiator': live.initiator, 'address': live.address}
            for key, record in self._journal.items()
            for iqn in record.targets
            for live in self._targets.sessions(iqn)
        ]

    def _serve(self, key: Key, export_id: str, export: Export) -> None:
        self._targets.open(export.iqn, self._lun(key, export.mode))
        self._targets.admit(export.iqn, export.initiator, self._keys.account(key.name, export_id))

    def _lun(self, key: Key, mode: str) -> Lun:
        serial = key.name.partition('-')[2]
        return Lun(self._store.path(key), self._store.size(key) or 0, serial, mode == 'ro', self._store.flags)

    def _refuse_used(self, key: Key, export_id: str, export: Export) -> None:
        if any(session.initiator == export.initiator for session in self._targets.sessions(export.iqn)):
            raise Conflict(f'export {export_id} of {key} is in use by {export.initiator} with mode {export.mode}')


def view(key: Key, export_id: str, export: Export) -> dict[str, Any]:
    """An export as requests see it. The CHAP account is not in it: both ends derive that."""
    facts = {'initiator': export.initiator, 'mode': export.mode, 'iqn': export.iqn, 'lun': LUN}
    return {'pool': key.pool, 'object': key.name, 'export_id': export_id, **facts}


def _target(key: Key, record: Record, initiator: str, mode: str) -> str:
    """Choose a target where this initiator has no export yet, so that its sessions there are this export's own.

    The volume's target is the first choice. Read-only paths of a volume have a target of their own, since tgt knows
    read-only LUNs but not read-only initiators.
    """
    taken = {export.iqn for export in record.exports.values() if export.initiator == initiator}
    base = IQN_PREFIX + key.name + ('.ro' if mode == 'ro' and not key.is_snapshot else '')
    number, iqn = 1, base
    while iqn in taken:
        number += 1
        iqn = f'{base}.{number}'
    return iqn
