"""``python3 -m appliance``: serve until SIGTERM or SIGINT, or install a systemd unit that serves."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from appliance import certificate, challenges
from appliance.daemon import Daemon, choose_control_port, join
from appliance.errors import ApplianceError
from appliance.exports import Exports
from appliance.files import FileStore
from appliance.image import ImageStore
from appliance.install import install
from appliance.journal import Journal
from appliance.keeper import Keeper
from appliance.keys import Keys
from appliance.lvm import LvmStore
from appliance.options import StoreOption, advertised, parser
from appliance.pools import Pools
from appliance.portal_guard import PortalGuard
from appliance.server import Server, tls_context
from appliance.service import Appliance
from appliance.signing import Verifier
from appliance.store import Store
from appliance.targets import Targets
from appliance.tgt import Tgt

#: Seconds that tgtd must have run to be restarted; if it ends earlier, the agent ends, too.
_LEAST_AGE = 1.0

_STOP = (signal.SIGTERM, signal.SIGINT)


def main() -> int:
    arguments = parser().parse_args()
    try:
        if arguments.command == 'install':
            print(install(sys.argv[1:], arguments))
            return 0
        return serve(arguments)
    except (OSError, ValueError, ApplianceError) as error:
        print(f'appliance: {error}', file=sys.stderr)
        return 1


def serve(options: argparse.Namespace) -> int:
    """Return 0 after a signal, 1 if tgtd keeps ending. Everything started is stopped, in reverse order."""
    os.umask(0o077)
    keys = Keys(read_secret(options.secret_file))
    options.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, (*_STOP, signal.SIGCHLD))
    with claimed(options.state_dir / 'lock'), contextlib.ExitStack() as started:
        portals = options.portal = options.portal or ['127.0.0.1:3260']
        shown = advertised(portals, options.advertise or [])
        store = open_store(options.store, options.state_dir, list(options.pools), options.existing_tgtd)
        started.callback(store.close)
        daemon = None if options.existing_tgtd else start_tgtd(options, portals)
        if daemon:
            started.callback(daemon.stop)
        tgt = daemon.tgt if daemon else Tgt(options.control_port)
        appliance = build(store, options, keys, tgt, shown, daemon)
        keeper = Keeper(appliance)
        keeper.start()
        started.callback(keeper.stop)
        guard = PortalGuard(tgt, portals)
        guard.start()
        started.callback(guard.stop)
        server = listen(options, appliance, keys)
        started.callback(server.shutdown)
        announce(server, options, daemon, store)
        return wait(daemon, keeper)


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Lock the state folder: two agents with one journal would undo each other's work. Raises ValueError."""
    with path.open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f'another agent uses {path.parent}: use another --state-dir') from error
        yield


def read_secret(path: Path) -> bytes:
    """Raises ValueError if others can read the file, or the secret is too short."""
    if path.stat().st_mode & 0o077:
        raise ValueError(f'{path} can be read by others: chmod 600 {path}')
    return path.read_bytes().strip()


def open_store(option: StoreOption, state: Path, pools: list[str], existing_tgtd: bool) -> Store:
    if option.kind == 'lvm':
        group, _, thin_pool = option.place.partition('/')
        return LvmStore(group, thin_pool)
    if option.kind == 'dir':
        return FileStore(Path(option.place), pools)
    if existing_tgtd:
        raise ValueError("an xfs-image is mounted for the agent's own tgtd only: mount it yourself and use dir:")
    return ImageStore(Path(option.place), option.size, state / 'mount', pools)


def start_tgtd(options: argparse.Namespace, portals: list[str]) -> Daemon:
    return Daemon(options.control_port or choose_control_port(options.state_dir / 'control-port'), portals)


def build(
    store: Store, options: argparse.Namespace, keys: Keys, tgt: Tgt, portals: list[str], daemon: Daemon | None
) -> Appliance:
    """Create the service, and serve every export of the journal. Hosts get ``portals``."""
    tgt.check_protocol()
    if not options.allow_predictable_challenges:
        challenges.check(tgt, options.portal[0])
    journal = Journal(options.state_dir / 'journal', list(options.pools))
    pools = Pools(store, options.pools, options.max_over_subscription, journal.kept)
    exports = Exports(store, journal, Targets(tgt), keys)
    appliance = Appliance(store, pools, journal, exports, portals, daemon.paused if daemon else None)
    appliance.recover(adopt=options.existing_tgtd)
    return appliance


def listen(options: argparse.Namespace, appliance: Appliance, keys: Keys) -> Server:
    tls = tls_context(*certificate.ensure(options.state_dir))
    server = Server(options.listen, tls, appliance, Verifier(keys.requests, memory=options.state_dir / 'nonces'))
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    return server


def announce(server: Server, options: argparse.Namespace, daemon: Daemon | None, store: Store) -> None:
    """Print one line of JSON to standard output: requests are answered from now on."""
    path = options.state_dir / 'certificate.pem'
    facts = {
        'ready': True,
        'listen': join(options.listen[0], server.server_address[1]),
        'port': server.server_address[1],
        'certificate': str(path),
        'fingerprint': certificate.fingerprint(path),
        'pools': list(options.pools),
        'copies_attached': store.copies_attached,
        'pid': os.getpid(),
        'tgtd_pid': daemon.process.pid if daemon else None,
    }
    print(json.dumps(facts), flush=True)


def wait(daemon: Daemon | None, keeper: Keeper) -> int:
    """Restart a tgtd that ended; the keeper then serves all exports again."""
    while True:
        if signal.sigwait((*_STOP, signal.SIGCHLD)) in _STOP:
            return 0
        if daemon and daemon.process.poll() is not None:
            print(f'appliance: tgtd ended with status {daemon.process.returncode}', file=sys.stderr)
            if daemon.age < _LEAST_AGE:
                return 1
            daemon.start()
            keeper.wake()


if __name__ == '__main__':
    sys.exit(main())
