"""A real iSCSI target on loopback, for tests and benchmarks: Linux tgt's tgtd, which needs no kernel module.

with Tgtd() as tgtd:
    target = tgtd.add_target(image)
    device = open_device(target.connection_data(), initiator='iqn.2026-01.org.example:host')
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from appliance import daemon, kernel
from appliance.targets import NEGOTIATION
from local.children import free_port

_LUN = 1  # LUN 0 is tgt's controller
_START_SECONDS = 20


@dataclasses.dataclass(frozen=True)
class Account:
    user: str
    password: str


@dataclasses.dataclass(frozen=True)
class Target:
    """A target with one LUN over an image file."""

    tid: int
    iqn: str
    portal: str
    image: Path

    @property
    def url(self) -> str:
        """As qemu and libiscsi name the LUN."""
        return f'iscsi://{self.portal}/{self.iqn}/{_LUN}'

    def connection_data(self, account: Account | None = None, /, **more: Any) -> dict[str, Any]:
        """``connection_info['data']`` as a Cinder driver makes it."""
        data: dict[str, Any] = {
            'target_discovered': False,
            'target_portal': self.portal,
            'target_iqn': self.iqn,
            'target_lun': _LUN,
        }
        if account:
            data |= {'auth_method': 'CHAP', 'auth_username': account.user, 'auth_password': account.password}
        return data | more


class Tgtd:
    """One tgtd with a portal, a control socket and a folder of its own, so that any number run side by side."""

    def __init__(self) -> None:
        self._tids = itertools.count(1)
        self._accounts: set[Account] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self.portal = ''

    def __enter__(self) -> Tgtd:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """A port that looked free may be taken by the time tgtd binds it: then tgtd runs on without, so try again."""
        # Not pytest's tmp_path: the path of a Unix socket has at most 107 characters.
        self._folder = Path(tempfile.mkdtemp(prefix='tgtd-'))
        for _ in range(5):
            self._launch(free_port())
            if f'Portal: {self.portal},' in self.admin('--lld', 'iscsi', '--mode', 'portal', '--op', 'show'):
                return
            self._end()
        raise RuntimeError(f'tgtd does not bind a portal: {self.log()}')

    def stop(self) -> None:
        """tgtd ignores SIGTERM, does not end while it has targets, and leaves its sockets behind."""
        if self._process is not None:
            for tid in self.sessions():
                self.delete_target(tid)
            self._end()
            shutil.rmtree(self._folder)

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """Pause hosts until the block ends; the images have all acknowledged writes."""
        assert self._process is not None
        return daemon.stopped(self._process)

    def log(self) -> str:
        return (self._folder / 'log').read_text()

    def admin(self, *arguments: str) -> str:
        """Run tgtadm; raises CalledProcessError with its message in ``stderr``."""
        command = ['tgtadm', '-C', '1', *arguments]
        return subprocess.run(
            command, env=self._environment(), check=True, capture_output=True, text=True, timeout=30
        ).stdout

    def add_target(
        self,
        image: Path,
        *,
        tuned: bool = True,
        thin: bool = True,
        account: Account | None = None,
        outgoing: Account | None = None,
        initiator_name: str | None = None,
        block_size: int = 512,
        settings: dict[str, str] | None = None,
    ) -> Target:
        """Export ``image``. ``outgoing`` proves the target to the initiator (mutual CHAP); only ``initiator_name`` may
        log in, if given; ``settings`` are names and values of ``tgtadm --mode target --op update``."""
        tid = next(self._tids)
        target = Target(tid, f'iqn.2010-10.org.openstack:volume-{os.getpid()}-{tid}', self.portal, image)
        self._target(tid, 'new', '-T', target.iqn)
        for name, value in ((NEGOTIATION if tuned else {}) | (settings or {})).items():
            self._target(tid, 'update', '--name', name, '--value', value)
        self.add_lun(target, thin=thin, block_size=block_size)
        if account:
            self._bind(tid, account)
        if outgoing:
            self._bind(tid, outgoing, '--outgoing')
        self._target(tid, 'bind', *(['--initiator-name', initiator_name] if initiator_name else ['-I', 'ALL']))
        return target

    def add_lun(self, target: Target, *, thin: bool = True, block_size: int = 512, serial: str = '') -> None:
        """tgt notices a grown or exchanged image only as a new LUN: see ``delete_lun``."""
        sizes = ['--blocksize', str(block_size)]
        self._lun(target.tid, 'new', '-b', str(target.image), *sizes)
        serial = serial or f'serial-{target.tid}'
        self.update_lun(target, f'thin_provisioning={int(thin)},scsi_sn={serial}')

    def update_lun(self, target: Target, parameters: str) -> None:
        self._lun(target.tid, 'update', '--params', parameters)

    def delete_lun(self, target: Target) -> None:
        self._lun(target.tid, 'delete')

    def delete_target(self, tid: int) -> None:
        self._target(tid, 'delete', '--force')

    def sessions(self) -> dict[int, list[tuple[str, str]]]:
        """Target id -> (session id, connection id) of each connection."""
        found: dict[int, list[tuple[str, str]]] = {}
        tid, sid = 0, ''
        for line in self.admin('--lld', 'iscsi', '--mode', 'target', '--op', 'show').splitlines():
            if match := re.match(r'Target (\d+):', line):
                tid = int(match[1])
                found[tid] = []
            elif match := re.match(r'\s+I_T nexus: (\d+)', line):
                sid = match[1]
            elif match := re.match(r'\s+Connection: (\d+)', line):
                found[tid].append((sid, match[1]))
        return found

    def drop_sessions(self, target: Target) -> int:
        """Cut every connection to the target, as a failover or an administrator would; return how many there were."""
        connections = self.sessions()[target.tid]
        for sid, cid in connections:
            tid = str(target.tid)
            self.admin('--lld', 'iscsi', '--mode', 'conn', '--op', 'delete', '--tid', tid, '--sid', sid, '--cid', cid)
        return len(connections)

    def _target(self, tid: int, operation: str, *arguments: str) -> None:
        self.admin('--lld', 'iscsi', '--mode', 'target', '--op', operation, '--tid', str(tid), *arguments)

    def _bind(self, tid: int, account: Account, *direction: str) -> None:
        """Accounts belong to the daemon; a target is bound to some of them."""
        command, user = ['--lld', 'iscsi', '--mode', 'account', '--op'], ['--user', account.user]
        if account not in self._accounts:
            self.admin(*command, 'new', *user, '--password', account.password)
            self._accounts.add(account)
        self.admin(*command, 'bind', '--tid', str(tid), *user, *direction)

    def _lun(self, tid: int, operation: str, *arguments: str) -> None:
        lun = ['--tid', str(tid), '--lun', str(_LUN)]
        self.admin('--lld', 'iscsi', '--mode', 'logicalunit', '--op', operation, *lun, *arguments)

    def _environment(self) -> dict[str, str]:
        return os.environ | {'TGT_IPC_SOCKET': str(self._folder / 'ipc')}

    def _launch(self, port: int) -> None:
        self.portal, parent = f'127.0.0.1:{port}', os.getpid()
        with (self._folder / 'log').open('wb') as log:
            self._process = subprocess.Popen(
                ['tgtd', '-f', '-C', '1', '--iscsi', f'portal={self.portal}', '-t', '4'],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: kernel.die_with(parent),
            )
        for _ in _attempts(_START_SECONDS):
            with contextlib.suppress(subprocess.CalledProcessError):
                self.admin('--mode', 'system', '--op', 'show')
                return
        raise RuntimeError(f'tgtd does not start: {self.log()}')

    def _end(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        try:
            self.admin('--mode', 'system', '--op', 'delete')
            process.wait(10)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()


def sparse_image(path: Path, size: int) -> Path:
    """A file of ``size`` bytes, all holes."""
    with path.open('wb') as file:
        file.truncate(size)
    return path


def _attempts(seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.05)
