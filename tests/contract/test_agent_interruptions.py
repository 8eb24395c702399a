"""The agent's service over a real tgtd that stops running (SIGSTOP) at each request of a verb, and then continues.

Requests sent before the stop are in its sockets. tgtd carries them out when it continues: after the agent gave up.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import tgt as tgt_module
from appliance.daemon import Daemon
from appliance.exports import Exports
from appliance.files import FileStore
from appliance.journal import Journal
from appliance.keys import Keys
from appliance.names import Key
from appliance.pools import Pools
from appliance.service import Appliance
from appliance.targets import Targets
from appliance.tgt import Mode, NoAnswer, Op
from chalicelib import iscsi
from chalicelib.drivers.connection_info import iscsi_target
from local.children import free_port

GIB = 1024**3
HOST, OTHER = 'iqn.2026-01.org.example:host', 'iqn.2026-01.org.example:other'
VOLUME, SNAPSHOT = Key('fast', 'volume-1'), Key('fast', 'snapshot-1')

VERBS: dict[str, Callable[[Appliance], Any]] = {
    'export': lambda agent: agent.create_export(VOLUME, 'new', HOST, 'ro'),
    'unexport': lambda agent: agent.delete_export(VOLUME, 'kept'),
    'unexport shared': lambda agent: agent.delete_export(VOLUME, 'old-1'),
    'extend': lambda agent: agent.extend_volume(VOLUME, 2 * GIB),
    'revert': lambda agent: agent.revert_volume(VOLUME, 'snapshot-1'),
    'delete volume': lambda agent: agent.delete(VOLUME),
}


class Bench:
    """An agent without its process: a service, a folder, and a tgtd that can be stopped before a request."""

    def __init__(self, folder: Path, daemon: Daemon) -> None:
        self.daemon, self.keys = daemon, Keys(b'a secret of thirty-two characters')
        self.store = FileStore(folder / 'store', ['fast'])
        self.journal = Journal(folder / 'journal', ['fast'])
        self.exports = Exports(self.store, self.journal, Targets(daemon.tgt), self.keys)
        pools = Pools(self.store, {'fast': 100 * GIB}, 20.0)
        self.agent = Appliance(self.store, pools, self.journal, self.exports, daemon.portals)
        self.fill()

    def fill(self) -> None:
        """Create a volume with three exports, two of them at one target, as an earlier version did."""
        self.agent.create_volume(VOLUME, GIB)
        self.write(b'a')
        self.agent.create_snapshot(SNAPSHOT, 'volume-1')
        self.write(b'b')
        self.agent.create_export(VOLUME, 'kept', OTHER, 'ro')
        self.agent.create_export(VOLUME, 'old-1', HOST, 'rw')
        old = self.journal.get(VOLUME).exports['old-1']
        self.journal.put(
            VOLUME, self.journal.get(VOLUME).with_export('old-2', dataclasses.replace(old, initiator=OTHER))
        )
        self.exports.settle(VOLUME)

    def write(self, byte: bytes) -> None:
        with Path(self.store.path(VOLUME)).open('r+b') as file:
            file.write(byte * 4096)

    def stopped_at(self, step: int, verb: Callable[[Appliance], Any], patch: pytest.MonkeyPatch) -> bool:
        """Run the verb; stop tgtd before request ``step``, and continue it after the verb has failed.

        Returns whether the verb sent more than ``step`` requests.
        """
        made, exchange = 0, self.daemon.tgt._exchange

        def counted(request: bytes) -> tuple[int, str]:
            nonlocal made
            if made == step:
                self.daemon.process.send_signal(signal.SIGSTOP)
                patch.setattr(tgt_module, 'TIMEOUT', 0.2)
            made += 1
            return exchange(request)

        with patch.context() as within:
            within.setattr(self.daemon.tgt, '_exchange', counted)
            try:
                with contextlib.suppress(NoAnswer):
                    verb(self.agent)
            finally:
                self.daemon.process.send_signal(signal.SIGCONT)
                patch.setattr(tgt_module, 'TIMEOUT', 10.0)
        return made > step

    def check(self) -> None:
        """Check that tgtd has the journal's exports, and that every export's host can log in and read."""
        assert self.exports.compare() == []
        assert self.exports.strays() == []
        exports = self.journal.get(VOLUME).exports
        accounts = {export_id: self.keys.account(VOLUME.name, export_id) for export_id in exports}
        shown = self.daemon.tgt.call('show accounts', Mode.ACCOUNT, Op.SHOW)
        assert set(shown.split()[2:]) == {account.user for account in accounts.values()}
        for export_id, export in exports.items():
            assert not export.ending
            data = {**iscsi_target(self.daemon.portals, export.iqn, 1), 'auth_method': 'CHAP'}
            data |= {'auth_username': accounts[export_id].user, 'auth_password': accounts[export_id].secret}
            with iscsi.open_device(data, initiator=export.initiator) as device:
                assert device.size == self.store.size(VOLUME)
                assert device.read(0, 4096) in (b'a' * 4096, b'b' * 4096)

    def clear(self) -> None:
        for key in (VOLUME, SNAPSHOT):
            self.agent.delete(key)


@pytest.fixture(scope='module')
def daemon() -> Iterator[Daemon]:
    made = Daemon(random.randrange(20000, 32000), [f'127.0.0.1:{free_port()}'])
    yield made
    made.stop()


@pytest.mark.parametrize('verb', VERBS)
def test_a_tgtd_that_stops_at_any_request_of_a_verb(
    tmp_path: Path, daemon: Daemon, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points = 0
    for step in itertools.count():
        bench = Bench(tmp_path / str(step), daemon)
        interrupted = bench.stopped_at(step, VERBS[verb], monkeypatch)
        if step % 2:
            VERBS[verb](bench.agent)
        assert bench.agent.reconcile()
        bench.check()
        bench.clear()
        if not interrupted:
            break
        points += 1
    with capsys.disabled():
        print(f' {verb}: {points} points', end='')
    assert points >= 7
    assert daemon.tgt.targets() == []
