"""The agent as a process: how it starts, ends, dies and comes back, and what is left of it."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chalicelib import iscsi
from chalicelib.drivers.base import GIB, SnapshotRef, VolumeRef
from chalicelib.errors import BackendUnavailable, DriverError
from tests.contract.agent import HOST, ROOT, Agent, wait_for_end
from tests.contract.driver_suite import BLOCK, Backend
from tests.tgt import Tgtd

MIB = 1024 * 1024

INITIATOR = 'iqn.2026-01.org.example:host'
CONNECTOR = {'initiator': INITIATOR}


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    with Agent(tmp_path) as running:
        yield running


@pytest.fixture
def backend(agent: Agent) -> Backend:
    return agent.backend()


def processes(agent: Agent) -> list[int]:
    return [agent.ready['pid'], agent.ready['tgtd_pid']]


def is_alive(pid: int) -> bool:
    """Return whether a process runs. A zombie does not: its new parent may reap it late."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except FileNotFoundError:
        return False


def loops(agent: Agent) -> list[str]:
    """Loop devices over the agent's image; the kernel frees one when the last mount of it is gone."""
    found = []
    for backing in Path('/sys/block').glob('loop*/loop/backing_file'):
        with contextlib.suppress(OSError):
            found += [backing.read_text()] if str(agent.folder) in backing.read_text() else []
    return found


def settled(agent: Agent) -> bool:
    """Whether the kernel has freed everything, within ten seconds."""
    deadline = time.monotonic() + 10
    while loops(agent) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not loops(agent)


class TestEnd:
    @pytest.mark.parametrize('how', [signal.SIGTERM, signal.SIGINT])
    def test_it_stops_everything_it_started(self, agent: Agent, backend: Backend, how: signal.Signals) -> None:
        volume = backend.volume()
        with backend.driver.open_volume(volume, 'host', 'rw'):
            assert agent.stop(how) == 0
        assert not any(is_alive(pid) for pid in processes(agent))
        assert list(Path(agent.sockets.name).iterdir()) == []
        assert settled(agent)

    def test_killed_it_leaves_no_process_and_no_mount(self, agent: Agent, backend: Backend) -> None:
        assert loops(agent)
        agent.kill()
        assert not any(is_alive(pid) for pid in processes(agent))
        assert settled(agent)


class TestTgtd:
    """tgtd alone ends, or does not run for a while."""

    def test_its_end_is_repaired(self, agent: Agent, backend: Backend) -> None:
        """The agent starts another one; hosts go on, new exports are possible, and the agent never went away."""
        volume = backend.volume(data=b'a' * BLOCK)
        info = backend.driver.initialize_connection(volume, CONNECTOR, 'one')
        with iscsi.open_device(info['data'], initiator=INITIATOR) as device:
            for _ in range(2):
                time.sleep(1.1)  # an agent whose tgtd cannot live for a second ends
                os.kill(tgtd_of(agent), signal.SIGKILL)
                assert device.read(0, BLOCK) == b'a' * BLOCK
        backend.driver.initialize_connection(volume, CONNECTOR, 'two')
        assert agent.process is not None
        assert agent.process.poll() is None

    def test_a_pause_leaves_no_trace(self, agent: Agent, backend: Backend) -> None:
        """Requests during the pause fail, and are then completed or undone: no unknown object remains."""
        volume, other = backend.volume(data=b'a' * BLOCK), backend.volume()
        info = backend.driver.initialize_connection(volume, CONNECTOR, 'one')
        verbs = [
            lambda: backend.driver.extend_volume(volume, 2),
            lambda: backend.driver.initialize_connection(other, CONNECTOR, 'late'),
        ]
        with iscsi.open_device(info['data'], initiator=INITIATOR) as device:
            os.kill(tgtd_of(agent), signal.SIGSTOP)
            with ThreadPoolExecutor(2) as threads:
                failures = list(threads.map(failure, verbs))
            os.kill(tgtd_of(agent), signal.SIGCONT)
            assert [type(one) for one in failures] == [BackendUnavailable] * 2
            assert device.read(0, BLOCK) == b'a' * BLOCK
        late = backend.driver.initialize_connection(other, CONNECTOR, 'late')
        iscsi.open_device(late['data'], initiator=INITIATOR).close()
        backend.driver.extend_volume(volume, 2)
        with iscsi.open_device(info['data'], initiator=INITIATOR) as device:
            assert device.size == 2 * GIB
        for one in (volume, other):
            backend.driver.delete_volume(one)


def tgtd_of(agent: Agent) -> int:
    """The process that runs now, which may not be the one that the ready line names."""
    found = Path(f'/proc/{agent.ready["pid"]}/task/{agent.ready["pid"]}/children').read_text().split()
    return next(int(pid) for pid in found if 'tgtd' in Path(f'/proc/{pid}/comm').read_text())


def failure(verb: Callable[[], object]) -> Exception | None:
    try:
        verb()
    except DriverError as error:
        return error
    return None


class TestRestart:
    @pytest.mark.parametrize('how', ['stop', 'kill'])
    def test_paths_are_as_before(self, agent: Agent, backend: Backend, how: str) -> None:
        """A host with a session continues after a short pause; a new login uses the same connection info."""
        volume = backend.volume(data=b'a' * BLOCK)
        info = backend.driver.initialize_connection(volume, CONNECTOR, 'one')
        reader = backend.driver.initialize_connection(volume, CONNECTOR, 'two', 'ro')
        with iscsi.open_device(info['data'], initiator=INITIATOR) as device:
            device.write(BLOCK, b'b' * BLOCK)
            device.flush()
            getattr(agent, how)()
            agent.start()
            assert device.read(0, 2 * BLOCK) == b'a' * BLOCK + b'b' * BLOCK
        assert agent.driver().initialize_connection(volume, CONNECTOR, 'one') == info
        iscsi.open_device(reader['data'], initiator=INITIATOR).close()

    def test_certificate_and_control_port_stay(self, agent: Agent) -> None:
        before = dict(agent.ready)
        sockets = sorted(path.name for path in Path(agent.sockets.name).iterdir())
        agent.kill()
        agent.start()
        assert agent.ready['fingerprint'] == before['fingerprint']
        assert sorted(path.name for path in Path(agent.sockets.name).iterdir()) == sockets

    def test_a_request_that_was_served_is_not_served_by_the_next_life(self, agent: Agent) -> None:
        client = agent.driver()._client
        signed = {'Authorization': client._authorization('GET', '/v1/health', b'')}
        assert client._pool.request('GET', '/v1/health', headers=signed, retries=False).status == 200
        agent.kill()
        agent.start()
        answer = client._pool.request('GET', '/v1/health', headers=signed, retries=False)
        assert (answer.status, answer.json()['error']['code']) == (401, 'replayed')


class Busy(threading.Thread):
    """Creates, copies, exports and deletes without end, and writes down what was answered."""

    def __init__(self, backend: Backend, number: int) -> None:
        super().__init__()
        self._backend = backend
        self._driver = backend.driver
        self.number = number
        self.verbs = 0
        #: Objects that were answered for, and the one verb that was not.
        self.there: dict[str, VolumeRef | SnapshotRef] = {}
        self.paths: dict[str, VolumeRef] = {}
        self.gone: set[str] = set()
        self.unanswered = ''

    def run(self) -> None:
        try:
            for count in itertools.count():
                self._round(f'{self.number}-{count}')
        except DriverError:
            return

    def _round(self, name: str) -> None:
        volume = VolumeRef(id=name, size=1, project_id='p', host=f'{HOST}#fast')
        clone = VolumeRef(id=f'{name}-clone', size=2, project_id='p', host=f'{HOST}#slow')
        snapshot = SnapshotRef(id=name, size=1, volume=volume)
        self._make(volume, lambda: self._driver.create_volume(volume))
        self._make(snapshot, lambda: self._driver.create_snapshot(snapshot))
        self._do(volume.name, lambda: self._driver.initialize_connection(volume, CONNECTOR, 'one'))
        self.paths[volume.name] = volume
        self._make(clone, lambda: self._driver.create_volume_from_snapshot(clone, snapshot))
        self._do(volume.name, lambda: self._driver.extend_volume(volume, 2))
        self._unmake(snapshot, lambda: self._driver.delete_snapshot(snapshot))
        if self.verbs % 2:
            self._unmake(clone, lambda: self._driver.delete_volume(clone))

    def _make(self, ref: VolumeRef | SnapshotRef, verb: object) -> None:
        self._do(ref.name, verb)
        self.there[ref.name] = ref

    def _unmake(self, ref: VolumeRef | SnapshotRef, verb: object) -> None:
        self._do(ref.name, verb)
        self.gone.add(ref.name)

    def _do(self, name: str, verb: object) -> None:
        assert callable(verb)
        self.unanswered = name
        verb()
        self.unanswered = ''
        self.verbs += 1


class TestKilledInTheMiddle:
    ROUNDS = 4
    WORKERS = 3

    def test_what_was_answered_is_true_and_what_was_not_can_be_repeated(self, agent: Agent, backend: Backend) -> None:
        for turn in range(self.ROUNDS):
            workers = [Busy(agent.backend(), 10 * turn + number) for number in range(self.WORKERS)]
            for worker in workers:
                worker.start()
            while any(worker.verbs < 7 + 3 * turn and worker.is_alive() for worker in workers):
                time.sleep(0.002)
            agent.kill()
            for worker in workers:
                worker.join(60)
            agent.start()
            for worker in workers:
                self.check(agent.backend(), worker)

    def check(self, backend: Backend, worker: Busy) -> None:
        listed = set(backend.driver.list_objects())
        certain = {worker.unanswered}
        assert set(worker.there) - worker.gone - certain <= listed
        assert not (worker.gone - certain) & listed
        for volume in worker.paths.values():
            info = backend.driver.initialize_connection(volume, CONNECTOR, 'one')
            with iscsi.open_device(info['data'], initiator=INITIATOR) as device:
                assert device.size in (GIB, 2 * GIB)
        for ref in worker.there.values():
            if isinstance(ref, VolumeRef):
                backend.driver.terminate_connection(ref, None)
                backend.driver.delete_volume(ref)
            else:
                backend.driver.delete_snapshot(ref)
        ours = (f'volume-{worker.number}-', f'snapshot-{worker.number}-')
        left = {name for name in backend.driver.list_objects() if name.startswith(ours)}
        assert left <= {worker.unanswered}


class TestManyAtOnce:
    def test_one_path_asked_for_by_many(self, backend: Backend) -> None:
        volume = backend.volume()
        with ThreadPoolExecutor(8) as threads:
            verb = backend.driver.initialize_connection
            infos = list(threads.map(lambda _: verb(volume, CONNECTOR, 'one'), range(24)))
        assert all(info == infos[0] for info in infos)
        iscsi.open_device(infos[0]['data'], initiator=INITIATOR).close()

    def test_many_volumes_with_a_path_each(self, backend: Backend) -> None:
        def work(_: int) -> str:
            volume = backend.volume_ref()
            backend.driver.create_volume(volume)
            info = backend.driver.initialize_connection(volume, CONNECTOR, 'one')
            with iscsi.open_device(info['data'], initiator=INITIATOR) as device:
                device.write(0, volume.id.encode().ljust(512))
                return device.read(0, 512).decode().strip()

        with ThreadPoolExecutor(8) as threads:
            ids = list(threads.map(work, range(24)))
        assert len(set(ids)) == 24
        assert set(backend.driver.list_objects()) == {f'volume-{id_}' for id_ in ids}
        backend.clean()

    def test_deletes_and_creates_of_one_volume(self, backend: Backend) -> None:
        """In whatever order they come, it is there or not, and nothing else is."""
        volume = backend.volume_ref()
        verbs = [backend.driver.create_volume, backend.driver.delete_volume] * 12
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda verb: verb(volume), verbs))
        assert backend.driver.list_objects() in ([], [volume.name])
        backend.driver.delete_volume(volume)
        assert backend.driver.list_objects() == []


def test_an_agent_and_its_tgtd_do_not_outlive_a_run_that_is_killed(tmp_path: Path) -> None:
    code = """
import pathlib, sys, threading
from tests.contract.agent import Agent
agent = Agent(pathlib.Path(sys.argv[1]))
thread = threading.Thread(target=agent.start)  # of a thread that has ended: the agent does not end for that
thread.start()
thread.join()
print(agent.ready['pid'], agent.ready['tgtd_pid'], flush=True)
sys.stdin.read()
"""
    command = [sys.executable, '-c', code, str(tmp_path)]
    run = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    pids = [int(pid) for pid in run.stdout.readline().split()]
    assert all(map(is_alive, pids))
    run.kill()
    run.wait(10)
    for pid in pids:
        wait_for_end(pid)


class TestRefusesToStart:
    def refusal(self, agent: Agent) -> str:
        process = agent.launch()
        process.communicate(timeout=20)
        agent.process = None
        assert process.returncode == 1
        return agent.log.read_text()

    def test_with_a_portal_that_is_taken(self, agent: Agent, tmp_path_factory: pytest.TempPathFactory) -> None:
        """tgtd alone would listen at all addresses instead."""
        second = Agent(tmp_path_factory.mktemp('second'))
        second.portal = agent.portal
        assert f'the portal {agent.portal} cannot be used' in self.refusal(second)
        assert settled(second)

    def test_over_the_state_of_another(self, agent: Agent, tmp_path_factory: pytest.TempPathFactory) -> None:
        second = Agent(tmp_path_factory.mktemp('second'), '', 'fast', '--state-dir', f'{agent.folder}/state')
        assert 'another agent uses' in self.refusal(second)
        agent.driver().check_for_setup_error()

    def test_with_a_secret_that_others_can_read(self, tmp_path: Path) -> None:
        agent = Agent(tmp_path)
        (tmp_path / 'secret').chmod(0o644)
        assert 'chmod 600' in self.refusal(agent)

    def test_with_an_image_that_is_too_small(self, tmp_path: Path) -> None:
        assert 'too small' in self.refusal(Agent(tmp_path, f'xfs-image:{tmp_path}/img:100M'))
        assert not (tmp_path / 'img').exists()


def test_a_tgtd_that_goes_on_keeps_its_sessions(tmp_path: Path) -> None:
    """With --existing-tgtd the agent may stop and start, and no host notices."""
    with Tgtd() as tgtd:
        agent = Agent(tmp_path, f'dir:{tmp_path}/store', 'fast,slow', '--existing-tgtd', '--control-port', '1')
        agent.environment |= {'TGT_IPC_SOCKET': tgtd._environment()['TGT_IPC_SOCKET']}
        agent.portal = tgtd.portal
        with agent:
            backend = agent.backend()
            volume = backend.volume(data=b'a' * BLOCK)
            info = backend.driver.initialize_connection(volume, CONNECTOR, 'one')
            with iscsi.open_device(info['data'], initiator=INITIATOR) as device:
                sessions = tgtd.sessions()
                agent.stop()
                assert tgtd.sessions() == sessions
                agent.start()
                assert tgtd.sessions() == sessions
                assert device.read(0, BLOCK) == b'a' * BLOCK
            iscsi.open_device(info['data'], initiator=INITIATOR).close()
            agent.driver().terminate_connection(volume, 'one')
            assert tgtd.sessions() == {}


def test_the_image_is_written_past_the_page_cache(agent: Agent) -> None:
    """Through it, Linux 6.18 acknowledges what a full file system has not taken."""
    command = ['losetup', '--associated', f'{agent.folder}/store.img', '--noheadings', '--output', 'DIO']
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ['1']


def test_a_deleted_volume_gives_its_space_back(agent: Agent, backend: Backend) -> None:
    """To the file system that holds the image: a full disk is freed by deletions."""
    image = agent.folder / 'store.img'
    volume = backend.volume(data=b'a' * BLOCK)
    info = backend.driver.initialize_connection(volume, CONNECTOR, 'one')
    with iscsi.open_device(info['data'], initiator=INITIATOR) as device:
        for number in range(32):
            device.write(number * MIB, os.urandom(MIB))
        device.flush()
    agent.driver().terminate_connection(volume, 'one')
    full = image.stat().st_blocks * 512
    agent.driver().delete_volume(volume)
    deadline = time.monotonic() + 30
    while image.stat().st_blocks * 512 > full - 30 * MIB:
        assert time.monotonic() < deadline, 'the image keeps the space'
        os.sync()
        time.sleep(0.2)


def test_no_secret_is_written_or_shown(agent: Agent, backend: Backend) -> None:
    """Neither the shared one nor an export's: not in a file, a log, an argument or an environment."""
    volume = backend.volume()
    info = backend.driver.initialize_connection(volume, CONNECTOR, 'one')
    with iscsi.open_device(info['data'], initiator=INITIATOR):
        agent.driver()._request('GET', '/v1/sessions')
    secrets = [agent.secret.encode(), info['data']['auth_password'].encode()]
    files = [path for path in agent.folder.rglob('*') if path.is_file() and path.name not in ('secret', 'store.img')]
    texts = [path.read_bytes() for path in files]
    for pid in processes(agent):
        texts += [Path(f'/proc/{pid}/{name}').read_bytes() for name in ('cmdline', 'environ')]
    assert texts
    assert not any(secret in text for text in texts for secret in secrets)


def test_qemu_finds_the_same_data(backend: Backend) -> None:
    """A second opinion on what we serve: login with CHAP, serial number and bytes."""
    volume = backend.volume(data=b'a' * BLOCK)
    data = backend.driver.initialize_connection(volume, CONNECTOR, 'one')['data']
    image = (
        f'driver=raw,file.driver=iscsi,file.transport=tcp,file.portal={data["target_portal"]},'
        f'file.target={data["target_iqn"]},file.lun=1,file.initiator-name={INITIATOR},'
        f'file.user={data["auth_username"]},file.password={data["auth_password"]}'
    )
    command = ['qemu-io', '--image-opts', image, '-c', f'read -P 97 0 {BLOCK}', '-c', f'read -P 0 {BLOCK} {BLOCK}']
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert 'Pattern verification failed' not in said
    assert said.count('read 4096/4096') == 2


def test_an_agent_that_is_gone_is_unavailable(agent: Agent, backend: Backend) -> None:
    agent.stop()
    wait_for_end(agent.ready['tgtd_pid'])
    with pytest.raises(BackendUnavailable, match=agent.listen):
        backend.driver.check_for_setup_error()
