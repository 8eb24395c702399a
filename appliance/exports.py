"""Access to objects: the journal's exports, served by tgtd's targets.

Each export has a target of its own, so removing the export ends all its sessions, whatever name the initiator uses.
Exports that an earlier version made may share a target: they keep its name until they are removed.

The journal is written first. ``settle`` brings tgtd to the journal's state after unconfirmed steps, and may be
repeated. The caller holds the object's lock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from appliance import names
from appliance.errors import ApplianceError, Conflict, Invalid
from appliance.journal import Export, Journal, Record
from appliance.keys import Account, Keys
from appliance.names import Key
from appliance.store import Store
from appliance.targets import LUN, Lun, Targets, Wanted
from appliance.tgt import NoAnswer, TargetInfo

#: Cinder's target_prefix.
IQN_PREFIX = 'iqn.2010-10.org.openstack:'


class Exports:
    def __init__(self, store: Store, journal: Journal, targets: Targets, keys: Keys) -> None:
        self._store = store
        self._journal = journal
        self._targets = targets
        self._keys = keys
        #: Objects with a change that began or failed and has not been settled since.
        self._changing: set[Key] = set()

    def put(self, key: Key, export_id: str, initiator: str, mode: str) -> Export:
        """Export an object to an initiator. An existing export stays, even if it cannot be served now.

        One for another initiator or mode is replaced. Raises Conflict if it is in use.
        """
        export = self._journal.get(key).exports.get(export_id)
        if export and (export.initiator, export.mode) == (initiator, mode):
            if export.ending:
                export = self._write(key, export_id, export, ending=False)
            self._serve(key, export.iqn)
            return export
        if export:
            self._refuse_used(key, export_id, export)
            self.remove(key, export_id)
        new = Export(initiator, mode, _target(key, self._journal.get(key), mode))
        self._write(key, export_id, new)
        try:
            self._serve(key, new.iqn)
        except ApplianceError as error:
            self._abandon(key, export_id, new, error)
            raise
        return new

    def remove(self, key: Key, export_id: str) -> None:
        """Remove one export with its sessions; a missing one is success."""
        export = self._journal.get(key).exports.get(export_id)
        if export is None:
            return
        if not export.ending:
            self._write(key, export_id, export, ending=True)
        self._finish_removal(key, export_id, export.iqn)

    def remove_all(self, key: Key) -> None:
        for export_id in self._journal.get(key).exports:
            self.remove(key, export_id)

    def settle(self, key: Key) -> None:
        """Bring tgtd to the journal's state for the object, and finish removals.

        Other targets are served even if one fails; the first error is raised at the end.
        """
        self._changing.add(key)
        ending = {id_: export.iqn for id_, export in self._journal.get(key).exports.items() if export.ending}
        steps = [partial(self._finish_removal, key, export_id, iqn) for export_id, iqn in ending.items()]
        steps += [partial(self._targets.serve, iqn, wanted) for iqn, wanted in self._wanted(key).items()]
        errors: list[ApplianceError] = []
        for step in steps:
            try:
                step()
            except NoAnswer:
                raise
            except ApplianceError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        self._changing.discard(key)

    def begin(self, key: Key) -> None:
        """Begin a change that ``settle`` ends: raise NoAnswer if tgtd does not answer, and start from a known state."""
        if self._journal.get(key).exports:
            self.check_answers()
            self.settle(key)
            self._changing.add(key)

    def check_answers(self) -> None:
        """Raises NoAnswer unless tgtd answers now."""
        self._targets.check_answers()

    @contextlib.contextmanager
    def refusing_logins(self, key: Key) -> Iterator[None]:
        """Refuse logins until the block ends, however it ends. Raises Busy if a session is open.

        While tgtd does not answer, logins stay refused; ``settle`` ends that once tgtd answers.
        """
        try:
            for iqn in self._journal.get(key).iqns:
                self._targets.refuse_logins(iqn)
            yield
        except NoAnswer:
            raise
        except BaseException:
            with contextlib.suppress(ApplianceError):  # the first error is more specific
                self.settle(key)
            raise
        self.settle(key)

    def unload(self, key: Key) -> None:
        """Close the object in tgtd while logins are refused: ``settle`` opens it again, with its new data."""
        for iqn in self._journal.get(key).iqns:
            self._targets.unload(iqn)

    def is_writable(self, key: Key) -> bool:
        return any(export.mode == 'rw' for export in self._journal.get(key).exports.values())

    def restore(self, adopt: bool) -> None:
        """Serve every export of the journal. An export that fails does not prevent the others."""
        keys = [key for key, _ in self._journal.items()]
        if adopt:
            self._targets.adopt({iqn: one for key in keys for iqn, one in self._wanted(key, ending=True).items()})
        for key in keys:
            try:
                self.settle(key)
            except ApplianceError as error:
                print(f'exports of {key} are not served: {error}', file=sys.stderr)

    def unsettled(self) -> list[Key]:
        """Objects in the middle of a change, and those with exports that are not served or not completely removed."""
        return [key for key in {*self._changing, *(key for key, _ in self._journal.items())} if self.is_unsettled(key)]

    def is_unsettled(self, key: Key) -> bool:
        exports = self._journal.get(key).exports.values()
        return key in self._changing or any(map(self._is_unfinished, exports))

    def compare(self) -> list[Key]:
        """Return objects whose targets differ from the journal, by one reading of all targets."""
        wanted = {key: self._wanted(key) for key, record in self._journal.items() if record.exports}
        differing = self._targets.differing({iqn: one for some in wanted.values() for iqn, one in some.items()})
        return [key for key, some in wanted.items() if differing & set(some)]

    def strays(self) -> list[tuple[str, TargetInfo]]:
        """Return targets with this agent's names but without an export, each with the name of its object."""
        kept = {iqn for _, record in self._journal.items() for iqn in record.iqns}
        found = self._targets.strays(IQN_PREFIX, kept)
        return [(name, info) for info in found if (name := _object(info.iqn))]

    def remove_stray(self, keys: list[Key], iqn: str) -> None:
        """Remove a target of one of these objects, unless an export has it meanwhile."""
        if not any(iqn in self._journal.get(key).iqns for key in keys):
            self._targets.remove_stray(iqn)

    def sessions(self) -> list[dict[str, str]]:
        return [
            {'pool': key.pool, 'object': key.name, 'iqn': iqn, 'initiator': live.initiator, 'address': live.address}
            for key, record in self._journal.items()
            for iqn in sorted(record.iqns)
            for live in self._targets.sessions(iqn)
        ]

    def _serve(self, key: Key, iqn: str) -> None:
        self._targets.serve(iqn, self._wanted(key)[iqn])

    def _finish_removal(self, key: Key, export_id: str, iqn: str) -> None:
        """Rebuild a shared target without the export: its sessions cannot be attributed to exports."""
        wanted = self._wanted(key).get(iqn)
        if wanted:
            self._targets.serve(iqn, wanted)
        else:
            self._targets.close(iqn)
        self._targets.remove_account(self._keys.account(key.name, export_id).user)
        self._journal.put(key, self._journal.get(key).without_export(export_id))

    def _abandon(self, key: Key, export_id: str, export: Export, error: ApplianceError) -> None:
        """Undo an export that could not be served: now, or in ``settle`` if tgtd does not answer."""
        self._write(key, export_id, export, ending=True)
        if not isinstance(error, NoAnswer):
            with contextlib.suppress(ApplianceError):  # the first error is more specific
                self._finish_removal(key, export_id, export.iqn)

    def _write(self, key: Key, export_id: str, export: Export, ending: bool = False) -> Export:
        export = dataclasses.replace(export, ending=ending)
        self._journal.put(key, self._journal.get(key).with_export(export_id, export))
        return export

    def _wanted(self, key: Key, ending: bool = False) -> dict[str, Wanted]:
        """Return the object's targets; exports that are ending only with ``ending``."""
        found: dict[str, tuple[str, dict[Account, str]]] = {}
        for export_id, export in self._journal.get(key).exports.items():
            if ending or not export.ending:
                _, admitted = found.setdefault(export.iqn, (export.mode, {}))
                admitted[self._keys.account(key.name, export_id)] = export.initiator
        return {iqn: Wanted(self._lun(key, mode), admitted) for iqn, (mode, admitted) in found.items()}

    def _lun(self, key: Key, mode: str) -> Lun:
        serial = key.name.partition('-')[2]
        return Lun(self._store.path(key), self._store.size(key) or 0, serial, mode == 'ro', self._store.flags)

    def _is_unfinished(self, export: Export) -> bool:
        return export.ending or not self._targets.is_served(export.iqn)

    def _refuse_used(self, key: Key, export_id: str, export: Export) -> None:
        if any(session.initiator == export.initiator for session in self._targets.sessions(export.iqn)):
            raise Conflict(f'export {export_id} of {key} is in use by {export.initiator} with mode {export.mode}')


def view(key: Key, export_id: str, export: Export) -> dict[str, Any]:
    """Return an export for a response, without the CHAP account: agent and driver both derive it."""
    facts = {'initiator': export.initiator, 'mode': export.mode, 'iqn': export.iqn, 'lun': LUN}
    return {'pool': key.pool, 'object': key.name, 'export_id': export_id, **facts}


def _target(key: Key, record: Record, mode: str) -> str:
    """Return a name that no other export of the object has; ``.ro`` marks read-only exports of a volume."""
    base = IQN_PREFIX + key.name + ('.ro' if mode == 'ro' and not key.is_snapshot else '')
    number, iqn = 1, base
    while iqn in record.iqns:
        number += 1
        iqn = f'{base}.{number}'
    return iqn


def _object(iqn: str) -> str:
    """Return the object's name in a target's name, or '' if the name is not an agent's."""
    name = iqn[len(IQN_PREFIX) :].partition('.')[0]
    try:
        return names.check('object', name)
    except Invalid:
        return ''
