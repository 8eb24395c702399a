"""The double refuses what ONTAP refuses, so that a driver which passes on it keeps to the API."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

import pytest
import urllib3

from appliance import certificate
from tests.ontap.luns import MAX_LUN
from tests.ontap.server import Double, Fault

GIB = 1024**3
HOST = 'iqn.2026-01.org.example:host'
OTHER = 'iqn.2026-01.org.example:other'
VSADMIN = 'vsadmin:svm-password'
CLUSTER = 'fsxadmin:cluster-password'
NEW = {'svm': {'name': 'svm1'}, 'name': '/vol/fast/a', 'os_type': 'linux', 'space': {'size': GIB}}
CHAP = {'authentication_type': 'chap', 'chap': {'inbound': {'user': 'u', 'password': 'p'}}}


class Client:
    def __init__(self, double: Double, account: str = VSADMIN) -> None:
        pinned = certificate.fingerprint(double.certificate)
        self._pool = urllib3.connection_from_url(double.url, assert_fingerprint=pinned, cert_reqs='CERT_NONE')
        self.headers = urllib3.make_headers(basic_auth=account)

    def __call__(self, method: str, path: str, body: Any = None, /, **query: Any) -> tuple[int, Any]:
        target = path if path.startswith('/api') else f'/api{path}'
        target += f'?{urllib.parse.urlencode(query)}' if query else ''
        sent = None if body is None else json.dumps(body)
        answer = self._pool.request(method, target, body=sent, headers=self.headers, retries=False)
        return answer.status, json.loads(answer.data)

    def refused(self, method: str, path: str, body: Any = None, /, **query: Any) -> str:
        status, document = self(method, path, body, **query)
        assert status >= 400, document
        return str(document['error']['code'])

    def made(self, path: str, body: Any) -> Any:
        status, document = self('POST', path, body, return_records='true')
        assert status == 201, document
        return document['records'][0]

    def lun(self, name: str = 'a', volume: str = 'fast', **more: Any) -> Any:
        return self.made('/storage/luns', NEW | {'name': f'/vol/{volume}/{name}'} | more)

    def igroup(self, name: str = 'g', initiator: str = HOST) -> Any:
        body = {'svm': {'name': 'svm1'}, 'name': name, 'protocol': 'iscsi', 'os_type': 'linux'}
        return self.made('/protocols/san/igroups', body | {'initiators': [{'name': initiator}]})

    def map_(self, lun: Any, igroup: Any, **more: Any) -> Any:
        return {'svm': {'name': 'svm1'}, 'lun': {'name': lun['name']}, 'igroup': {'name': igroup['name']}} | more


@pytest.fixture
def ask(double: Double) -> Client:
    return Client(double)


@pytest.mark.parametrize('account', ['vsadmin:wrong', 'unknown:x', ':'])
def test_a_stranger_is_refused(double: Double, account: str) -> None:
    assert Client(double, account)('GET', '/storage/luns')[0] == 401


def test_an_svm_s_administrator_sees_and_makes_nothing_elsewhere(double: Double, ask: Client) -> None:
    names = [one['name'] for one in ask('GET', '/storage/volumes')[1]['records']]
    assert set(names) == {'svm1_root', 'fast', 'slow'}
    assert ask.refused('POST', '/storage/luns', NEW | {'svm': {'name': 'svm2'}}) == '2621462'
    assert ask.refused('GET', '/storage/aggregates') == '6'
    lun = ask.lun()
    assert Client(double, 'theirs:their-password').refused('DELETE', f'/storage/luns/{lun["uuid"]}') == '5374875'


def test_a_cluster_s_administrator_names_the_svm(double: Double) -> None:
    cluster = Client(double, CLUSTER)
    assert cluster('GET', '/storage/aggregates')[1]['num_records'] == 1
    assert cluster.refused('POST', '/storage/luns', {**NEW, 'svm': {}}) == '2621707'
    cluster.headers['X-Dot-SVM-Name'] = 'svm1'
    assert cluster('POST', '/storage/luns', {**NEW, 'svm': {}})[0] == 201
    cluster.headers['X-Dot-SVM-Name'] = 'gone'
    assert cluster.refused('GET', '/storage/luns') == '2621462'


@pytest.mark.parametrize(
    ('change', 'code'),
    [
        ({'name': '/vol/gone/a'}, '917927'),
        ({'name': 'a'}, '5374352'),
        ({'name': '/vol/fast/a b'}, '5374121'),
        ({'name': '/vol/svm1_root/a'}, '5374237'),
        ({'name': '/vol/fast/.snapshot/s/a'}, '5374238'),
        ({'space': {'size': 0}}, '5374124'),
        ({'space': {'size': MAX_LUN + GIB}}, '5374125'),
        ({'space': {'size': '1G'}}, '262197'),
        ({'sise': 1}, '262179'),
        ({'clone': {'source': {'name': '/vol/fast/b'}}}, '5374883'),
        ({'space': {'size': 101 * GIB}}, '0'),
    ],
)
def test_a_lun_that_cannot_be_is_refused(ask: Client, change: Any, code: str) -> None:
    assert ask.refused('POST', '/storage/luns', NEW | change) == code
    assert ask('GET', '/storage/luns')[1]['num_records'] == 0


def test_a_lun_needs_size_and_type_and_a_name_of_its_own(ask: Client) -> None:
    for missing in ('os_type', 'space'):
        assert ask.refused('POST', '/storage/luns', {key: NEW[key] for key in NEW if key != missing}) == '5374884'
    ask.lun()
    assert ask.refused('POST', '/storage/luns', NEW) == '5374242'


def test_space_is_reserved_for_thick_luns_only(ask: Client) -> None:
    ask.lun('thin', space={'size': 90 * GIB, 'guarantee': {'requested': False}})
    ask.lun('thick', space={'size': 90 * GIB})
    assert ask.refused('POST', '/storage/luns', NEW | {'space': {'size': 20 * GIB}}) == '0'
    fast = ask('GET', '/storage/volumes', name='fast', fields='space.available')[1]['records'][0]
    assert fast['space'] == {'available': 10 * GIB}


def test_a_clone_is_made_in_its_volume_and_takes_attributes_but_no_features_along(ask: Client) -> None:
    source = ask.lun(space={'size': GIB, 'scsi_thin_provisioning_support_enabled': True})
    ask('POST', f'/storage/luns/{source["uuid"]}/attributes', {'name': 'n', 'value': 'v'})
    body = {'svm': {'name': 'svm1'}, 'name': '/vol/fast/c', 'clone': {'source': {'name': source['name']}}}
    clone = ask.made('/storage/luns', body)
    shown = ask('GET', f'/storage/luns/{clone["uuid"]}', fields='space,attributes,serial_number')[1]
    assert shown['space']['size'] == GIB
    assert shown['space']['scsi_thin_provisioning_support_enabled'] is False
    assert shown['attributes'] == [{'name': 'n', 'value': 'v'}]
    assert ask.refused('POST', '/storage/luns', body | {'name': '/vol/slow/c'}) == '13565952'
    gone = body | {'name': '/vol/fast/d', 'clone': {'source': {'name': '/vol/fast/gone'}}}
    assert ask.refused('POST', '/storage/luns', gone) == '5374875'


def test_a_copy_takes_its_time_and_nobody_touches_it_meanwhile(double: Double, ask: Client) -> None:
    double.cluster.copy_takes = 2
    source = ask.lun()
    body = {'svm': {'name': 'svm1'}, 'name': '/vol/slow/c', 'copy': {'source': {'name': source['name']}}}
    copy = f'/storage/luns/{ask.made("/storage/luns", body)["uuid"]}'
    assert ask.refused('PATCH', copy, {'space': {'size': 2 * GIB}}) == '7018919'
    assert ask.refused('DELETE', f'/storage/luns/{source["uuid"]}') == '7018919'
    states = [ask('GET', copy, fields='copy')[1].get('copy', {}) for _ in range(4)]
    assert [one['source']['progress']['state'] for one in states[:3]] == ['replicating', 'replicating', 'complete']
    assert states[3] == {}
    assert ask('PATCH', copy, {'space': {'size': 2 * GIB}})[0] == 200


def test_a_lun_never_shrinks_and_may_be_overwritten_by_a_clone(ask: Client) -> None:
    lun, other = ask.lun(), ask.lun('b', space={'size': 2 * GIB})
    path = f'/storage/luns/{lun["uuid"]}'
    assert ask.refused('PATCH', path, {'space': {'size': GIB // 2}}) == '5374892'
    clone = {'clone': {'source': {'name': other['name']}}}
    assert ask.refused('PATCH', path, {**clone, 'space': {'size': 3 * GIB}}) == '5374942'
    assert ask('PATCH', path, clone)[0] == 200
    shown = ask('GET', path, fields='space.size,serial_number')[1]
    assert (shown['space']['size'], shown['serial_number']) == (2 * GIB, lun['serial_number'])


def test_maps_conflict_by_initiator_and_number(ask: Client) -> None:
    one, two, ours = ask.lun(), ask.lun('b'), ask.igroup()
    same_host = ask.igroup('h')
    assert ask.made('/protocols/san/lun-maps', ask.map_(one, ours))['logical_unit_number'] == 0
    assert ask.refused('POST', '/protocols/san/lun-maps', ask.map_(one, ours)) == '1254207'
    assert ask.refused('POST', '/protocols/san/lun-maps', ask.map_(one, same_host)) == '0'
    assert ask.refused('POST', '/protocols/san/lun-maps', ask.map_(two, ours, logical_unit_number=0)) == '0'
    assert ask.refused('POST', '/protocols/san/lun-maps', ask.map_(two, ours, logical_unit_number=4096)) == '262197'
    assert ask.made('/protocols/san/lun-maps', ask.map_(two, ours))['logical_unit_number'] == 1
    assert ask.refused('POST', '/protocols/san/lun-maps', ask.map_(two, {'name': 'gone'})) == '5374878'


def test_what_is_mapped_is_deleted_on_demand_only(ask: Client) -> None:
    lun, igroup = ask.lun(), ask.igroup()
    entry = f'/protocols/san/lun-maps/{lun["uuid"]}/{igroup["uuid"]}'
    assert ask.refused('DELETE', entry) == '5374922'
    ask.made('/protocols/san/lun-maps', ask.map_(lun, igroup))
    assert ask.refused('DELETE', f'/storage/luns/{lun["uuid"]}') == '1254197'
    assert ask.refused('DELETE', f'/protocols/san/igroups/{igroup["uuid"]}') == '1254213'
    shown = ask('GET', '/storage/luns', fields='lun_maps')[1]['records'][0]
    assert [one['igroup']['name'] for one in shown['lun_maps']] == ['g']
    assert ask('DELETE', f'/storage/luns/{lun["uuid"]}', allow_delete_while_mapped='true')[0] == 200
    assert ask('GET', '/protocols/san/lun-maps')[1]['num_records'] == 0


def test_initiators_come_and_go(ask: Client) -> None:
    lun, igroup = ask.lun(), ask.igroup()
    ask.made('/protocols/san/lun-maps', ask.map_(lun, igroup))
    path = f'/protocols/san/igroups/{igroup["uuid"]}/initiators'
    assert ask.refused('DELETE', f'{path}/{HOST}') == '1254213'
    assert ask('DELETE', f'{path}/{HOST}', allow_delete_while_mapped='true')[0] == 200
    assert ask.refused('DELETE', f'{path}/{HOST}') == '5374034'
    assert ask.refused('POST', path, {'svm': {'name': 'svm1'}, 'name': HOST}) == '262179'
    assert ask('POST', path, {'name': HOST})[0] == 201
    assert ask.refused('POST', path, {'name': HOST}) == '1'


@pytest.mark.parametrize('name', ['ALL', '192.0.2.1', 'iqn.2026-01.org.example:a,b', 'iqn.2026-01.a:b c'])
def test_what_is_no_initiator_is_refused(ask: Client, name: str) -> None:
    body = {'svm': {'name': 'svm1'}, 'name': 'g', 'os_type': 'linux', 'initiators': [{'name': name}]}
    assert ask.refused('POST', '/protocols/san/igroups', body) == '5373993'


def test_credentials_are_complete_and_one_per_initiator(double: Double, ask: Client) -> None:
    path, new = '/protocols/san/iscsi/credentials', {'svm': {'name': 'svm1'}, 'initiator': HOST}
    assert ask.refused('POST', path, new | {'authentication_type': 'chap'}) == '5374149'
    assert ask.refused('POST', path, new | CHAP | {'authentication_type': 'none'}) == '5374900'
    svm = ask.made(path, new | CHAP)['svm']
    assert ask.refused('POST', path, new | CHAP) == '5374142'
    shown = ask('GET', path, fields='*')[1]
    assert 'password' not in json.dumps(shown)
    one = f'{path}/{svm["uuid"]}/{HOST}'
    assert ask('PATCH', one, CHAP)[0] == 200
    assert ask.refused('DELETE', f'{path}/{svm["uuid"]}/default') == '5374148'
    assert ask('DELETE', one)[0] == 200
    assert ask.refused('DELETE', one) == '5374895'


def test_attributes(ask: Client) -> None:
    path = f'/storage/luns/{ask.lun()["uuid"]}/attributes'
    assert ask.refused('POST', path, {'name': 'n'}) == '5374928'
    assert ask.refused('POST', path, {'name': 'n', 'value': 'v' * 4092}) == '5374929'
    assert ask('POST', path, {'name': 'n', 'value': 'v'})[0] == 201
    assert ask.refused('POST', path, {'name': 'n', 'value': 'w'}) == '5374930'
    assert ask('PATCH', f'{path}/n', {'value': 'w'})[0] == 200
    assert ask('DELETE', f'{path}/n')[0] == 200
    assert ask.refused('DELETE', f'{path}/n') == '5374931'


def test_policies_are_jobs_and_stay_while_they_are_used(double: Double, ask: Client) -> None:
    body = {'svm': {'name': 'svm1'}, 'name': 'p', 'fixed': {'max_throughput_iops': 100}}
    status, answer = ask('POST', '/storage/qos/policies', body)
    assert status == 202
    assert ask('GET', f'/cluster/jobs/{answer["job"]["uuid"]}')[1]['state'] == 'success'
    assert ask('POST', '/storage/qos/policies', body | {'name': 'q'}, return_timeout=15)[0] == 201
    policy = ask('GET', '/storage/qos/policies', name='p')[1]['records'][0]
    ask.lun(qos_policy={'name': 'p'})
    path = f'/storage/qos/policies/{policy["uuid"]}'
    assert ask.refused('DELETE', path, return_timeout=15) == '0'
    job = ask('DELETE', path)[1]['job']['uuid']
    assert ask('GET', f'/cluster/jobs/{job}')[1]['state'] == 'failure'
    assert ask.refused('GET', '/cluster/jobs/gone') == '4'
    assert ask.refused('POST', '/storage/qos/policies', body | {'adaptive': {}}, return_timeout=15) == '2'


def test_expensive_fields_are_told_if_named_and_unknown_ones_refused(ask: Client) -> None:
    ask.lun()
    assert 'lun_maps' not in ask('GET', '/storage/luns', fields='*')[1]['records'][0]
    assert 'lun_maps' in ask('GET', '/storage/luns', fields='lun_maps')[1]['records'][0]
    assert set(ask('GET', '/storage/luns')[1]['records'][0]) == {'uuid', 'name'}
    assert ask.refused('GET', '/storage/luns', fields='colour') == '262197'
    assert ask.refused('GET', '/storage/luns', colour='red') == '262179'
    assert ask.refused('DELETE', '/storage/luns') == '3'
    assert ask.refused('GET', '/storage/nuns') == '4'


def test_queries_know_wildcards_and_alternatives(ask: Client) -> None:
    for name in ('volume-1', 'volume-2', 'snapshot-1', 'x'):
        ask.lun(name)
    found = ask('GET', '/storage/luns', name='/vol/fast/volume-*|*/snapshot-*')[1]
    assert {one['name'] for one in found['records']} == {f'/vol/fast/{name}' for name in
                                                        ('volume-1', 'volume-2', 'snapshot-1')}  # fmt: skip


def test_pages_are_linked(double: Double, ask: Client) -> None:
    double.page = 2
    names = {ask.lun(f'l{number}')['name'] for number in range(5)}
    seen, target = [], '/storage/luns?fields=name'
    for expected in (2, 2, 1):
        page = ask('GET', target)[1]
        assert page['num_records'] == expected
        seen += [one['name'] for one in page['records']]
        target = page.get('_links', {}).get('next', {}).get('href', '')
    assert target == ''
    assert set(seen) == names
    assert len(seen) == 5


def test_a_snapshot_of_a_flexvol_holds_its_luns(double: Double, ask: Client) -> None:
    lun = ask.lun()
    volume = ask('GET', '/storage/volumes', name='fast')[1]['records'][0]
    path = f'/storage/volumes/{volume["uuid"]}/snapshots'
    assert ask('POST', path, {'name': 's'}, return_timeout=10)[0] == 201
    assert ask.refused('POST', path, {'name': 's'}, return_timeout=10) == '0'
    assert ask.refused('POST', path, {'colour': 's'}, return_timeout=10) == '262179'
    assert ask.refused('GET', '/storage/volumes/gone/snapshots') == '918235'
    ask('PATCH', f'/storage/luns/{lun["uuid"]}', {'space': {'size': 2 * GIB}})
    body = {'svm': {'name': 'svm1'}, 'name': '/vol/fast/c', 'clone': {'source': {'name': '/vol/fast/.snapshot/s/a'}}}
    assert ask.made('/storage/luns', body)['space']['size'] == GIB
    for gone in ('/vol/fast/.snapshot/t/a', '/vol/fast/.snapshot/s/b'):
        assert ask.refused('POST', '/storage/luns', {**body, 'clone': {'source': {'name': gone}}}) in (
            '5374242',
            '5374875',
        )
    [found] = ask('GET', path, name='s*', fields='create_time')[1]['records']
    double.cluster.busy_snapshots = 1
    assert ask.refused('DELETE', f'{path}/{found["uuid"]}', return_timeout=10) == '0'
    assert ask('DELETE', f'{path}/{found["uuid"]}', return_timeout=10)[0] == 200
    assert ask.refused('DELETE', f'{path}/{found["uuid"]}', return_timeout=10) == '4'


def test_a_consistency_group_freezes_its_volumes_and_leaves_them_their_snapshots(ask: Client) -> None:
    path, add = '/application/consistency-groups', {'provisioning_options': {'action': 'add'}}
    body = {'svm': {'name': 'svm1'}, 'name': 'g', 'volumes': [{'name': 'fast', **add}, {'name': 'slow', **add}]}
    assert ask('POST', path, body)[0] == 202
    assert ask.refused('POST', path, body, return_timeout=10) == '0'
    for wrong, code in (({'name': 'fast', **add}, '0'), ({'name': 'gone', **add}, '917927'), ({'name': 'slow'}, '2')):
        assert ask.refused('POST', path, {**body, 'name': 'h', 'volumes': [wrong]}, return_timeout=10) == code
    [group] = ask('GET', path, fields='volumes.name')[1]['records']
    one = f'{path}/{group["uuid"]}'
    snapshot = {'name': 's', 'consistency_type': 'crash'}
    assert ask('POST', f'{one}/snapshots', snapshot, return_timeout=10)[0] == 201
    assert ask('DELETE', one, return_timeout=10)[0] == 200
    for volume in ask('GET', '/storage/volumes', name='fast|slow')[1]['records']:
        assert ask('GET', f'/storage/volumes/{volume["uuid"]}/snapshots')[1]['num_records'] == 1


def test_faults_on_demand(double: Double, ask: Client) -> None:
    double.fail('GET', '/storage/luns', Fault.GARBAGE, Fault.BUSY, Fault.DROP)
    with pytest.raises(json.JSONDecodeError):
        ask('GET', '/storage/luns')
    assert ask('GET', '/storage/luns')[0] == 503
    with pytest.raises(urllib3.exceptions.ProtocolError):
        ask('GET', '/storage/luns')
    double.fail('POST', '/storage/luns', Fault.LOSE)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        ask('POST', '/storage/luns', NEW)
    assert ask('GET', '/storage/luns')[1]['num_records'] == 1
