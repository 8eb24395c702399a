"""The storage host of the local cloud: the appliance's agent with a tgtd of its own (local/place.py: over which store).

The agent mounts an image in a mount namespace of its own and dies with this process, so the kernel takes mount, loop
device and tgtd away however this process ends. Only tgtd's two socket files outlive a SIGKILL; the next start of the
same ``state_dir`` removes them, by the control port that this one wrote down.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from appliance.files import put_in_place
from infra.render import ROOT
from local.children import Child
from local.place import FOLDER, IMAGE, PATH, Place, choose
from local.settings import HOST, STACK, Settings, join

#: Pool -> (zone, capacity in GiB). The image is sparse: capacity is claimed, not taken.
POOLS = {'fast': ('nova', 100), 'slow': ('nova', 100), 'remote': ('az2', 100)}

#: Seconds for the agent's first start: format the image, create a certificate, start tgtd.
START_TIMEOUT = 30

#: Where tgtd of root puts its control sockets. Other users cannot write there.
SOCKETS = Path('/var/run/tgtd')

#: Bytes of a UNIX socket's path, and what follows the folder: /socket.32767.
_LONGEST_PATH, _NAME = 107, 13

#: The control ports that tgtd takes.
CONTROL_PORTS = range(1024, 32768)

#: Name of the secret that driver and agent share.
SECRET_NAME = f'{STACK}/appliance'


class Storage:
    """One agent. Its store, journal, certificate and secret are kept in ``state_dir/appliance``."""

    def __init__(self, settings: Settings, logs: Path) -> None:
        self._settings = settings
        self._folder = settings.state_dir / 'appliance'
        self._sockets = SOCKETS if os.geteuid() == 0 else _folder_for_sockets(self._folder)
        self._log = logs / 'appliance.log'
        self._child: Child | None = None
        #: Shared by driver and agent; CHAP accounts are derived from it, so it is kept with the exports.
        self.secret = ''
        #: SHA-256 of the agent's certificate, hex; known once it is up, as is whether it copies attached volumes.
        self.fingerprint = ''
        self.copies_attached = False
        #: Where the volumes are; known from ``start`` on.
        self.place = Place(IMAGE)

    def start(self) -> None:
        """Start the agent on the content of its folder; ``wait`` returns when it answers."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._sockets.stat().st_uid != os.geteuid():
            raise RuntimeError(f"{self._sockets} is another user's: remove it, or give STATE_DIR a shorter path")
        self.place = choose(self._folder)
        self._remove_sockets()
        self.secret = self._kept_secret()
        control_port = self._free_control_port()
        (self._folder / 'control_port').write_text(str(control_port))
        environment = {'PATH': PATH, 'TGT_IPC_SOCKET': str(self._sockets / 'socket')}
        self._child = Child(self._command(control_port), folder=ROOT, log=self._log, environment=environment)

    def _kept_secret(self) -> str:
        path = self._folder / 'secret'
        if not path.exists():
            unfinished = path.with_suffix('.new')
            unfinished.touch(mode=0o600)
            unfinished.write_text(secrets.token_urlsafe(48))
            put_in_place(unfinished, path)
        return path.read_text()

    def _command(self, control_port: int) -> list[str]:
        pools = ','.join(f'{name}:{capacity}' for name, (_, capacity) in POOLS.items())
        return [
            *(sys.executable, '-m', 'appliance'),
            *('--listen', f'{HOST}:{self._settings.appliance_port}'),
            *('--portal', join(self._settings.listen, self._settings.iscsi_port)),
            *('--advertise', join(self._settings.host, self._settings.iscsi_port)),
            *('--state-dir', str(self._folder)),
            *('--secret-file', str(self._folder / 'secret')),
            *('--store', self.place.option(self._folder)),
            *('--pools', pools),
            *('--control-port', str(control_port)),
        ]

    def wait(self) -> None:
        """Return when the agent answers. Raises RuntimeError with its standard error when it does not."""
        assert self._child is not None
        line = self._child.first_line(START_TIMEOUT)
        if not line:
            said = self._child.said()
            raise RuntimeError(f'the storage host did not start: {said}')
        facts = json.loads(line)
        self.fingerprint = str(facts['fingerprint'])
        self.copies_attached = bool(facts['copies_attached'])

    def restriction(self) -> str:
        """Return a sentence on what a store without an image cannot do, '' for an image. Call it after ``wait``."""
        if self.place.name == IMAGE:
            return ''
        why = f' ({self.place.obstacle})' if self.place.obstacle else ''
        without = (
            'so snapshots take no time'
            if self.copies_attached
            else 'which has no reflinks: a snapshot is a copy, and is refused while a host may write to its volume'
        )
        return f'The storage host mounts no image{why}. Volumes are files in {self._folder / FOLDER}, {without}.'

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()
        self._remove_sockets()
        if self._sockets not in (SOCKETS, self._folder) and self._sockets.exists():
            shutil.rmtree(self._sockets)

    def ended(self) -> bool:
        """Whether it was started and has ended."""
        return self._child is not None and self._child.ended()

    def _remove_sockets(self) -> None:
        """Remove the sockets of a tgtd that was killed."""
        known = self._folder / 'control_port'
        if known.exists():
            for name in (f'socket.{known.read_text()}', f'socket.{known.read_text()}.lock'):
                (self._sockets / name).unlink(missing_ok=True)

    def _free_control_port(self) -> int:
        """A control port of which no tgtd has, or has left, a socket."""
        while True:
            port = secrets.choice(CONTROL_PORTS)
            if not (self._sockets / f'socket.{port}').exists():
                return port

    def backends(self) -> dict[str, Any]:
        """The backends document for this agent: one backend per zone, each with its pools."""
        zones = dict.fromkeys(zone for zone, _ in POOLS.values())
        return {'host': STACK, 'backends': [self._backend(zone) for zone in zones]}

    def _backend(self, zone: str) -> dict[str, Any]:
        return {
            'name': f'xfs-{zone}',
            'driver': 'appliance',
            'availability_zone': zone,
            'options': {
                'url': self._settings.appliance_url,
                'fingerprint': self.fingerprint,
                'pools': [name for name, (of, _) in POOLS.items() if of == zone],
            },
            'secrets': {'secret': {'secret': SECRET_NAME}},
        }


def _folder_for_sockets(folder: Path) -> Path:
    """The agent's folder, or one with a short path: the kernel limits the paths of sockets."""
    if len(bytes(folder)) + _NAME <= _LONGEST_PATH:
        return folder
    known = hashlib.sha256(bytes(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f'cinderless-{os.geteuid()}-{known}'
