"""The agent's service over a store of files or of fake LVM, with a fake tgtd that keeps tgt's rules."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from appliance.exports import Exports
from appliance.files import FileStore
from appliance.journal import Journal
from appliance.keys import Account, Keys
from appliance.lvm import LvmStore
from appliance.names import Key
from appliance.pools import Pools
from appliance.service import Appliance, Pause
from appliance.store import Store
from appliance.targets import Targets
from tests.unit.appliance.fakes import FakeLvm, FakeTarget, FakeTgt

SECRET = b'a secret of thirty-two characters'
GIB = 1024**3
MIB = 1024**2
HOST = 'iqn.2026-01.org.example:host'
OTHER = 'iqn.2026-01.org.example:other'
VOLUME = Key('fast', 'volume-1')
SNAPSHOT = Key('fast', 'snapshot-1')
IQN = 'iqn.2010-10.org.openstack:volume-1'


@dataclasses.dataclass
class Rig:
    """``start`` gives the agent a new life, and a new tgtd, over what is on the disk."""

    folder: Path
    lvm: FakeLvm | None = None
    pause: Pause | None = None
    capacities: Mapping[str, int] = dataclasses.field(default_factory=lambda: {'fast': 8 * GIB, 'slow': 8 * GIB})

    def __post_init__(self) -> None:
        self.start()

    def start(self, tgt: FakeTgt | None = None) -> None:
        """With a ``tgt`` that went on, the agent adopts its targets."""
        self.tgt = tgt or FakeTgt(self._size_of)
        if self.lvm:
            self.lvm.is_open = self._has_lun
        self.keys = Keys(SECRET)
        self.store = self._open_store()
        self.journal = Journal(self.folder / 'journal', list(self.capacities))
        self.pools = Pools(self.store, self.capacities, 2.0, self.journal.kept)
        self.exports = Exports(self.store, self.journal, Targets(self.tgt), self.keys)
        self.appliance = Appliance(self.store, self.pools, self.journal, self.exports, ['192.0.2.1:3260'], self.pause)
        self.appliance.recover(adopt=tgt is not None)

    def target(self, iqn: str = IQN) -> FakeTarget:
        return self.tgt.target(iqn)

    def account(self, export_id: str, key: Key = VOLUME) -> Account:
        return self.keys.account(key.name, export_id)

    def login(self, export_id: str, initiator: str = HOST, iqn: str = IQN) -> int:
        """Open a session through an export, or raise PermissionError."""
        return self.tgt.login(iqn, initiator, *self.account(export_id))

    def write(self, key: Key, data: bytes) -> None:
        with Path(self.store.path(key)).open('r+b') as file:
            file.write(data)

    def read(self, key: Key, length: int) -> bytes:
        with Path(self.store.path(key)).open('rb') as file:
            return file.read(length)

    def _open_store(self) -> Store:
        if self.lvm:
            return LvmStore(self.lvm.group, self.lvm.pool, self.lvm)
        return FileStore(self.folder / 'store', list(self.capacities))

    def _size_of(self, path: str) -> int:
        if self.lvm:
            volume = self.lvm.opened[path] = self.lvm.volumes[Path(path).name]
            return volume.size
        return Path(path).stat().st_size

    def _has_lun(self, path: str) -> bool:
        """Whether tgtd has the device open: it does as long as there is the LUN, with sessions or without."""
        return any(target.lun is not None and target.lun.path == path for target in self.tgt.live.values())
