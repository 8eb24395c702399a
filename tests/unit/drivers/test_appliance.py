"""The appliance's driver in front of an agent that only records the requests."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import errors, iscsi
from chalicelib.device import Changes
from chalicelib.drivers.appliance import ApplianceDriver
from chalicelib.drivers.appliance_client import Refused
from chalicelib.drivers.base import GIB, Kept, SnapshotRef, StoredExport, StoredObject, VolumeRef

OPTIONS = {'url': 'https://192.0.2.10:18700', 'fingerprint': 'ab' * 32, 'secret': 'x' * 40}
VOLUME = VolumeRef(id='v1', size=2, project_id='p', host='cinderless@b#fast')
OTHER = VolumeRef(id='v2', size=3, project_id='p', host='cinderless@b#slow')
SNAPSHOT = SnapshotRef(id='s1', size=2, volume=VOLUME)
HOST = {'initiator': 'iqn.2026-01.a:h'}
EXPORT = {'iqn': 'iqn.2010-10.org.openstack:volume-v1', 'lun': 1, 'portals': ['192.0.2.10:3260']}

Sent = tuple[str, str, dict[str, Any] | None]


class Agent:
    def __init__(self) -> None:
        self.requests: list[Sent] = []
        self.answer: Any = {}

    def __call__(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        self.requests.append((method, path, body))
        if isinstance(self.answer, Exception):
            raise self.answer
        answer: dict[str, Any] = self.answer(path) if callable(self.answer) else self.answer
        return answer


@pytest.fixture
def agent() -> Agent:
    return Agent()


@pytest.fixture
def driver(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> ApplianceDriver:
    made = ApplianceDriver('b', OPTIONS)
    monkeypatch.setattr(made._client, 'request', agent)
    return made


VOLUMES, SNAPSHOTS, EXPORTS = '/v1/pools/fast/volumes', '/v1/pools/fast/snapshots', '/v1/pools/fast/exports'


#: Paths under which objects are made, with the deployment's mark.
MAKING = (VOLUMES, SNAPSHOTS, '/v1/pools/slow/volumes')


def copied(**source: str) -> dict[str, Any]:
    return {'size_bytes': 3 * GIB, 'source': {**source, 'pool': 'fast'}}


VERBS: list[tuple[Callable[[ApplianceDriver], Any], Sent]] = [
    (lambda d: d.create_volume(VOLUME), ('PUT', f'{VOLUMES}/volume-v1', {'size_bytes': 2 * GIB})),
    (lambda d: d.create_volume_from_snapshot(OTHER, SNAPSHOT),
     ('PUT', '/v1/pools/slow/volumes/volume-v2', copied(snapshot='snapshot-s1'))),
    (lambda d: d.create_cloned_volume(OTHER, VOLUME),
     ('PUT', '/v1/pools/slow/volumes/volume-v2', copied(volume='volume-v1'))),
    (lambda d: d.delete_volume(VOLUME), ('DELETE', f'{VOLUMES}/volume-v1', None)),
    (lambda d: d.extend_volume(VOLUME, 5), ('PUT', f'{VOLUMES}/volume-v1/size', {'size_bytes': 5 * GIB})),
    (lambda d: d.revert_to_snapshot(VOLUME, SNAPSHOT),
     ('PUT', f'{VOLUMES}/volume-v1/data', {'snapshot': 'snapshot-s1'})),
    (lambda d: d.create_snapshot(SNAPSHOT), ('PUT', f'{SNAPSHOTS}/snapshot-s1', {'volume': 'volume-v1'})),
    (lambda d: d.delete_snapshot(SNAPSHOT), ('DELETE', f'{SNAPSHOTS}/snapshot-s1', None)),
    (lambda d: d.terminate_connection(VOLUME, 'e1'), ('DELETE', f'{EXPORTS}/volume-v1/e1', None)),
    (lambda d: d.terminate_connection(VOLUME, None), ('DELETE', f'{EXPORTS}/volume-v1', None)),
    (lambda d: d.close_volume(VOLUME, 'e1'), ('DELETE', f'{EXPORTS}/volume-v1/e1', None)),
    (lambda d: d.close_snapshot(SNAPSHOT, 'e1'), ('DELETE', f'{EXPORTS}/snapshot-s1/e1', None)),
    (lambda d: d.manage_existing(VOLUME, {'source-name': 'theirs'}),
     ('PUT', f'{VOLUMES}/volume-v1', {'size_bytes': 2 * GIB, 'source': {'existing': 'theirs'}})),
    (lambda d: d.manage_existing_snapshot(SNAPSHOT, {'source-name': 'theirs'}),
     ('PUT', f'{SNAPSHOTS}/snapshot-s1', {'volume': 'volume-v1', 'existing': 'theirs'})),
    (lambda d: d.unmanage(VOLUME), ('PUT', '/v1/pools/fast/released/volume-v1', None)),
    (lambda d: d.unmanage_snapshot(SNAPSHOT), ('PUT', '/v1/pools/fast/released/snapshot-s1', None)),
]  # fmt: skip


@pytest.mark.parametrize(('verb', 'sent'), VERBS)
def test_every_verb_is_one_request(
    driver: ApplianceDriver, agent: Agent, verb: Callable[[ApplianceDriver], Any], sent: Sent
) -> None:
    assert not verb(driver)
    method, path, body = sent
    makes = method == 'PUT' and path.rpartition('/')[0] in MAKING
    assert agent.requests == [(method, path, {**body, 'deployment': 'cinderless'} if body and makes else body)]


def test_the_name_on_the_backend_follows_name_id(driver: ApplianceDriver, agent: Agent) -> None:
    driver.delete_volume(dataclasses.replace(VOLUME, name_id='n9'))
    assert agent.requests[0][1].endswith('/volume-n9')


def test_a_host_without_a_pool_is_refused(driver: ApplianceDriver, agent: Agent) -> None:
    with pytest.raises(errors.BackendMisconfigured, match='does not name a pool'):
        driver.create_volume(dataclasses.replace(VOLUME, host='cinderless@b'))
    assert agent.requests == []


class TestConnections:
    def test_what_os_brick_reads(self, driver: ApplianceDriver, agent: Agent) -> None:
        agent.answer = EXPORT
        info = driver.initialize_connection(VOLUME, HOST, 'e1')
        user, secret = driver._client.account('volume-v1', 'e1')
        assert agent.requests == [('PUT', f'{EXPORTS}/volume-v1/e1', {**HOST, 'mode': 'rw'})]
        assert info == {
            'driver_volume_type': 'iscsi',
            'data': {
                'target_discovered': False,
                'target_portal': '192.0.2.10:3260',
                'target_iqn': EXPORT['iqn'],
                'target_lun': 1,
                'volume_id': 'v1',
                'auth_method': 'CHAP',
                'auth_username': user,
                'auth_password': secret,
                'access_mode': 'rw',
                'discard': True,
            },
        }

    def test_several_portals_are_lists_of_one_length(self, driver: ApplianceDriver, agent: Agent) -> None:
        agent.answer = {**EXPORT, 'portals': ['192.0.2.10:3260', '[2001:db8::1]:3260']}
        data = driver.initialize_connection(VOLUME, HOST, 'e1')['data']
        assert data['target_portal'] == '192.0.2.10:3260'
        assert data['target_portals'] == agent.answer['portals']
        assert (data['target_iqns'], data['target_luns']) == ([EXPORT['iqn']] * 2, [1, 1])

    def test_the_secret_is_of_the_object_not_of_the_volume_s_id(self, driver: ApplianceDriver, agent: Agent) -> None:
        agent.answer = EXPORT
        moved = dataclasses.replace(VOLUME, name_id='n9')
        data = driver.initialize_connection(moved, HOST, 'e1')['data']
        assert (data['auth_username'], data['auth_password']) == driver._client.account('volume-n9', 'e1')
        assert data['volume_id'] == 'v1'

    @pytest.mark.parametrize('connector', [{}, {'host': 'h'}, {'initiator': ''}, {'initiator': None}])
    def test_a_connector_without_an_initiator(
        self, driver: ApplianceDriver, agent: Agent, connector: dict[str, Any]
    ) -> None:
        with pytest.raises(errors.InvalidConnector, match='initiator'):
            driver.initialize_connection(VOLUME, connector, 'e1')
        assert agent.requests == []

    @pytest.mark.parametrize('mode', ['rw', 'ro'])
    def test_workers_open_a_volume_under_a_name_of_their_path(
        self, driver: ApplianceDriver, agent: Agent, monkeypatch: pytest.MonkeyPatch, mode: Any
    ) -> None:
        opened: list[Any] = []
        device = types.SimpleNamespace(size=1 << 30, block_size=512)
        monkeypatch.setattr(iscsi, 'open_device', lambda data, *, initiator: opened.append((data, initiator)) or device)
        agent.answer = EXPORT
        driver.open_volume(VOLUME, 'backup-1', mode)
        name = 'iqn.2010-10.org.openstack:cinderless-backup-1'
        assert agent.requests == [('PUT', f'{EXPORTS}/volume-v1/backup-1', {'initiator': name, 'mode': mode})]
        assert opened[0][1] == name
        assert opened[0][0]['auth_password'] == driver._client.account('volume-v1', 'backup-1')[1]

    def test_workers_open_a_snapshot_for_reading(
        self, driver: ApplianceDriver, agent: Agent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(iscsi, 'open_device', lambda data, *, initiator: None)
        agent.answer = EXPORT
        driver.open_snapshot(SNAPSHOT, 'backup-1')
        method, path, body = agent.requests[0]
        assert (method, path) == ('PUT', f'{EXPORTS}/snapshot-s1/backup-1')
        assert body is not None
        assert body['mode'] == 'ro'


ERRORS = [
    (401, 'signature', errors.BackendMisconfigured),
    (401, 'clock', errors.BackendUnavailable),
    (401, 'replayed', errors.BackendUnavailable),
    (404, 'pool', errors.BackendMisconfigured),
    (404, 'not_found', errors.ProviderNotFound),
    (404, 'route', errors.BackendUnavailable),
    (409, 'conflict', errors.DriverError),
    (409, 'busy', errors.VolumeIsBusy),
    (400, 'invalid', errors.DriverError),
    (400, 'initiator', errors.InvalidConnector),
    (500, 'internal', errors.BackendUnavailable),
    (503, 'unavailable', errors.BackendUnavailable),
    (507, 'full', errors.BackendFull),
]


@pytest.mark.parametrize(('status', 'code', 'kind'), ERRORS)
def test_every_code_is_an_error_of_the_contract(
    driver: ApplianceDriver, agent: Agent, status: int, code: str, kind: type[errors.CinderlessError]
) -> None:
    agent.answer = Refused(status, code, 'the reason')
    with pytest.raises(kind) as raised:
        driver.create_volume(VOLUME)
    assert type(raised.value) is kind
    assert 'the reason' in raised.value.message or kind is errors.ProviderNotFound


def test_every_code_of_the_agent_is_known_here() -> None:
    from appliance.errors import ApplianceError

    def all_codes(kind: type[ApplianceError]) -> set[str]:
        return {kind.code}.union(*(all_codes(one) for one in kind.__subclasses__()))

    assert all_codes(ApplianceError) <= {code for _, code, _ in ERRORS} | {'too_large', 'incomparable'}


def test_a_busy_snapshot_is_a_snapshot(driver: ApplianceDriver, agent: Agent) -> None:
    agent.answer = Refused(409, 'busy', 'in use')
    with pytest.raises(errors.SnapshotIsBusy, match='s1'):
        driver.delete_snapshot(SNAPSHOT)


def test_a_full_backend_says_how_much_was_asked(driver: ApplianceDriver, agent: Agent) -> None:
    agent.answer = Refused(507, 'full', 'no space')
    with pytest.raises(errors.BackendFull, match='5 GiB'):
        driver.extend_volume(VOLUME, 5)


def test_the_report_is_in_cinder_s_form(driver: ApplianceDriver, agent: Agent) -> None:
    sizes = {'total_bytes': 10 * GIB, 'free_bytes': 7 * GIB + GIB // 4, 'provisioned_bytes': 25 * GIB, 'objects': 3}
    agent.answer = {'pools': [{'name': 'fast', **sizes}], 'copies_attached': True, 'portals': []}
    report = driver.get_volume_stats()
    pool = report['pools'][0]
    assert (report['volume_backend_name'], report['storage_protocol'], report['shared_targets']) == (
        'b',
        'iSCSI',
        False,
    )
    assert pool['pool_name'] == 'fast'
    capacities = [pool[f'{name}_capacity_gb'] for name in ('total', 'free', 'provisioned')]
    assert capacities == [10.0, 7.25, 25.0]
    assert pool['thin_provisioning_support'] is True
    assert pool['thick_provisioning_support'] is False
    assert pool['max_over_subscription_ratio'] == 20.0


def test_objects_of_all_pools_that_are_cinder_s(driver: ApplianceDriver, agent: Agent) -> None:
    contents = {'fast': ['volume-1', 'theirs'], 'slow': ['snapshot-2']}

    def answer(path: str) -> dict[str, Any]:
        if path == '/v1/capacity':
            return {'pools': [{'name': name} for name in contents]}
        return {'objects': [{'name': name, 'size_bytes': GIB} for name in contents[path.split('/')[3]]]}

    agent.answer = answer
    assert driver.list_objects() == ['volume-1', 'snapshot-2']


class TestPools:
    """One agent may serve several backends: the local cloud's zones."""

    @pytest.fixture
    def agent(self) -> Agent:
        made = Agent()
        sizes = {'total_bytes': GIB, 'free_bytes': GIB, 'provisioned_bytes': 0, 'objects': 0}
        pools = [{'name': name, **sizes} for name in ('fast', 'slow', 'remote')]
        objects = [{'name': 'volume-1', 'size_bytes': GIB}]
        made.answer = lambda path: {'pools': pools} if path == '/v1/capacity' else {'objects': objects}
        return made

    def limited(self, driver: ApplianceDriver, *pools: str) -> ApplianceDriver:
        driver.options = {**OPTIONS, 'pools': list(pools)}
        return driver

    def test_a_backend_reports_and_lists_its_own(self, driver: ApplianceDriver, agent: Agent) -> None:
        ours = self.limited(driver, 'slow', 'fast')
        assert [pool['pool_name'] for pool in ours.get_volume_stats()['pools']] == ['slow', 'fast']
        assert ours.list_objects() == ['volume-1'] * 2
        assert not any('remote' in path for _, path, _ in agent.requests)

    def test_another_backend_s_pool_is_refused(self, driver: ApplianceDriver, agent: Agent) -> None:
        with pytest.raises(errors.BackendMisconfigured, match='does not name a pool of this backend'):
            self.limited(driver, 'slow').create_volume(VOLUME)
        assert agent.requests == []

    def test_a_pool_that_the_agent_lacks_is_told(self, driver: ApplianceDriver) -> None:
        driver.check_for_setup_error()
        with pytest.raises(errors.BackendMisconfigured, match='fast, slow, remote'):
            self.limited(driver, 'gold').check_for_setup_error()


class TestManage:
    @pytest.mark.parametrize(('size', 'gib'), [(GIB, 1), (GIB + 512, 2), (512, 1)])
    def test_sizes_are_rounded_up(self, driver: ApplianceDriver, agent: Agent, size: int, gib: int) -> None:
        agent.answer = {'name': 'theirs', 'size_bytes': size}
        assert driver.manage_existing_get_size(VOLUME, {'source-name': 'theirs'}) == gib
        assert agent.requests[0][1] == '/v1/pools/fast/objects/theirs'

    def test_what_may_be_managed(self, driver: ApplianceDriver, agent: Agent) -> None:
        found = [
            {'name': 'theirs', 'size_bytes': GIB + 512, 'source': '', 'exported': True},
            {'name': 'unmanaged-snapshot-s1', 'size_bytes': GIB, 'source': 'volume-v1', 'exported': False},
        ]
        agent.answer = {'objects': found}
        [volume] = driver.get_manageable_volumes('fast')
        assert (volume.reference, volume.size) == ({'source-name': 'theirs'}, 2)
        assert volume.reason_not_safe == 'a host may be using it'
        [snapshot] = driver.get_manageable_snapshots('fast')
        assert (snapshot.source_reference, snapshot.reason_not_safe) == ({'source-name': 'volume-v1'}, None)
        assert agent.requests[0] == ('GET', '/v1/pools/fast/manageable', None)

    @pytest.mark.parametrize('reference', [{}, {'source-id': 'x'}, {'source-name': '../x'}, {'source-name': 'a/b'}])
    def test_a_reference_is_a_name(self, driver: ApplianceDriver, agent: Agent, reference: dict[str, str]) -> None:
        with pytest.raises(errors.ManageExistingInvalidReference, match='source-name'):
            driver.manage_existing(VOLUME, reference)
        assert agent.requests == []


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'url': 'http://192.0.2.10:18700'}, 'https://host:port'),
        ({'url': 'https://192.0.2.10'}, 'https://host:port'),
        ({'url': 'https://192.0.2.10:18700/path'}, 'https://host:port'),
        ({'url': 'nonsense'}, 'https://host:port'),
        ({'fingerprint': None}, 'certificate'),
        ({'fingerprint': 'abc'}, 'not a SHA-256'),
        ({'fingerprint': None, 'certificate': 'nonsense'}, 'certificate'),
    ],
)
def test_wrong_options_are_told(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(errors.BackendMisconfigured, match=reason) as error:
        ApplianceDriver('b', OPTIONS | changes)
    assert OPTIONS['secret'] not in error.value.message


def test_a_fingerprint_may_be_written_as_openssl_does() -> None:
    ApplianceDriver('b', OPTIONS | {'fingerprint': ':'.join(['AB'] * 32)})


def test_an_agent_that_knows_no_marks_makes_objects_all_the_same(driver: ApplianceDriver, agent: Agent) -> None:
    def answer(path: str) -> dict[str, Any]:
        if 'deployment' in (agent.requests[-1][2] or {}):
            raise Refused(400, 'invalid', "the body lacks [] and has unknown ['deployment']")
        return {}

    agent.answer = answer
    driver.create_volume(VOLUME)
    assert [body for _, _, body in agent.requests] == [
        {'size_bytes': 2 * GIB, 'deployment': 'cinderless'}, {'size_bytes': 2 * GIB},
    ]  # fmt: skip


def test_what_the_agent_has(driver: ApplianceDriver, agent: Agent) -> None:
    def answer(path: str) -> dict[str, Any]:
        if path == '/v1/capacity':
            return {'pools': [{'name': 'fast'}]}
        if path.endswith('/exports'):
            one = {'pool': 'fast', 'object': 'volume-1', 'export_id': 'e', 'initiator': 'iqn.a', 'mode': 'rw'}
            return {'exports': [one]}
        marked = {'name': 'volume-1', 'size_bytes': GIB, 'deployment': 'other'}
        return {
            'objects': [
                marked,
                {'name': 'snapshot-2', 'size_bytes': GIB, 'deployment': ''},
                {'name': 'x', 'size_bytes': 1},
            ]
        }

    agent.answer = answer
    assert driver.inventory() == [
        StoredObject('volume-1', 'fast', GIB, 'other'), StoredObject('snapshot-2', 'fast', GIB, None),
    ]  # fmt: skip
    assert driver.list_exports() == [StoredExport('volume-1', 'fast', 'e', 'iqn.a')]


class TestChanges:
    """What the agent lists, page by page, and what it cannot list."""

    older = SnapshotRef(id='s0', size=2, volume=VOLUME, kept=True)

    def known(self, driver: ApplianceDriver, agent: Agent) -> Changes:
        """The function, when the older snapshot was there."""
        agent.answer = {'kept': 5}
        changes = driver.changes_since(SNAPSHOT, self.older)
        assert changes is not None
        return changes

    @pytest.mark.parametrize(
        ('answer', 'kept', 'expected'),
        [
            ({'kept': 5}, True, True),
            ({'kept': 0}, True, False),
            ({}, True, False),
            ({'kept': 0}, False, True),
            (Refused(404, 'not_found', 'no'), False, False),
        ],
    )
    def test_a_backups_own_snapshot_counts_while_it_is_kept(
        self, driver: ApplianceDriver, agent: Agent, answer: Any, kept: bool, expected: bool
    ) -> None:
        """A late request may have taken another one under its name, with newer data."""
        agent.answer = answer
        assert (driver.changes_since(SNAPSHOT, dataclasses.replace(self.older, kept=kept)) is not None) == expected

    def test_pages(self, driver: ApplianceDriver, agent: Agent) -> None:
        changes = self.known(driver, agent)
        far = 70_000
        pages = {'10': {'changes': [[10, 5], [20, 1], [far + 21, 1]], 'next': far + 22}}
        pages[str(far + 22)] = {'changes': [[far + 22, 8]], 'next': None}
        agent.answer = lambda path: pages[path.split('/')[-2]]
        agent.requests.clear()
        assert changes(10, 2 * far) == [(10, 11), (far + 21, 9)]
        place = f'{SNAPSHOTS}/snapshot-s1/changes/snapshot-s0'
        assert agent.requests == [('GET', f'{place}/{start}/{10 + 2 * far}', None) for start in (10, far + 22)]

    @pytest.mark.parametrize('code', ['not_found', 'incomparable', 'route'])
    def test_what_is_not_known(self, driver: ApplianceDriver, agent: Agent, code: str) -> None:
        changes = self.known(driver, agent)
        agent.answer = Refused(404, code, 'no')
        assert changes(0, GIB) is None

    @pytest.mark.parametrize('code', ['unavailable', 'internal', 'signature', 'pool'])
    def test_other_failures_are_raised(self, driver: ApplianceDriver, agent: Agent, code: str) -> None:
        changes = self.known(driver, agent)
        agent.answer = Refused(503, code, 'no')
        with pytest.raises(errors.DriverError):
            changes(0, GIB)

    def test_retiring(self, driver: ApplianceDriver, agent: Agent) -> None:
        driver.retire_snapshot(SNAPSHOT)
        assert agent.requests == [('PUT', '/v1/pools/fast/retired/snapshot-s1', None)]
        agent.answer = Refused(503, 'unavailable', 'no')
        with pytest.raises(errors.BackendUnavailable):
            driver.retire_snapshot(SNAPSHOT)

    def test_an_agent_that_keeps_nothing(self, driver: ApplianceDriver, agent: Agent) -> None:
        def answer(path: str) -> dict[str, Any]:
            if '/retired/' in path:
                raise Refused(404, 'route', 'no')
            return {}

        agent.answer = answer
        driver.retire_snapshot(SNAPSHOT)
        assert [method for method, _, _ in agent.requests] == ['PUT', 'DELETE']

    def test_without_the_option(self, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
        driver = ApplianceDriver('b', OPTIONS | {'keep_backup_snapshots': False})
        monkeypatch.setattr(driver._client, 'request', agent)
        driver.retire_snapshot(SNAPSHOT)
        assert agent.requests == [('DELETE', f'{SNAPSHOTS}/snapshot-s1', None)]

    def test_kept_ones_are_no_users_snapshots(self, driver: ApplianceDriver, agent: Agent) -> None:
        facts = {'size_bytes': GIB, 'source': 'volume-v1', 'exported': False, 'deployment': 'mine'}
        objects = [{'name': 'snapshot-1', 'kept': 5, **facts}, {'name': 'snapshot-2', 'kept': 0, **facts}]
        agent.answer = {'pools': [{'name': 'fast'}], 'objects': objects}
        assert driver.inventory() == [
            StoredObject('snapshot-1', 'fast', GIB, 'mine', Kept('volume-v1', 5)),
            StoredObject('snapshot-2', 'fast', GIB, 'mine'),
        ]
        assert driver.list_objects() == ['snapshot-2']
        [found] = driver.get_manageable_snapshots('fast')
        assert found.reference == {'source-name': 'snapshot-2'}
