from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.errors import ApplianceError, Invalid, NoRoute
from appliance.names import GRAMMAR, Key
from appliance.routes import ROUTES, answer
from tests.unit.appliance.agent_fixture import GIB, HOST, Rig

VOLUME = '/v1/pools/fast/volumes/volume-1'
EXPORT = '/v1/pools/fast/exports/volume-1/e1'
README = Path(__file__).parents[3] / 'appliance' / 'README.md'


def ask(rig: Rig, method: str, path: str, body: object = None) -> dict[str, Any]:
    return answer(rig.appliance, method, path, json.dumps(body).encode() if body is not None else b'')


def test_every_verb_can_be_reached(files: Rig) -> None:
    volume = {'name': 'volume-1', 'size_bytes': GIB, 'source': '', 'exports': [], 'kept': 0}
    snapshot = '/v1/pools/fast/snapshots/snapshot-1'
    assert ask(files, 'PUT', VOLUME, {'size_bytes': GIB}) == volume
    assert ask(files, 'GET', VOLUME) == ask(files, 'GET', '/v1/pools/fast/objects/volume-1') == volume
    assert ask(files, 'PUT', snapshot, {'volume': 'volume-1'})['source'] == 'volume-1'
    assert ask(files, 'GET', snapshot)['size_bytes'] == GIB
    assert ask(files, 'PUT', VOLUME + '/data', {'snapshot': 'snapshot-1'}) == volume
    assert ask(files, 'PUT', VOLUME + '/size', {'size_bytes': 2 * GIB})['size_bytes'] == 2 * GIB
    clone = {'size_bytes': GIB, 'source': {'snapshot': 'snapshot-1', 'pool': 'fast'}}
    assert ask(files, 'PUT', '/v1/pools/slow/volumes/volume-2', clone)['source'] == 'snapshot-1'
    assert ask(files, 'PUT', EXPORT, {'initiator': HOST, 'mode': 'rw'})['lun'] == 1
    assert len(ask(files, 'GET', '/v1/pools/fast/exports')['exports']) == 1
    assert ask(files, 'GET', '/v1/sessions') == {'sessions': []}
    assert ask(files, 'DELETE', EXPORT) == ask(files, 'DELETE', '/v1/pools/fast/exports/volume-1') == {}
    assert ask(files, 'DELETE', VOLUME) == ask(files, 'DELETE', snapshot) == {}
    assert ask(files, 'GET', '/v1/pools/fast/objects') == {'objects': []}
    assert ask(files, 'GET', '/v1/health')['status'] == 'ok'
    assert ask(files, 'GET', '/v1/capacity')['copies_attached'] is False


def test_every_route_names_a_grammar_and_is_documented() -> None:
    documented = README.read_text()
    for route in ROUTES:
        assert set(re.findall(r'{(\w+)}', route.path)) <= set(GRAMMAR)
        assert route.path in documented, route.path


@pytest.mark.parametrize(
    ('method', 'path'),
    [('GET', '/'), ('GET', '/v2/health'), ('POST', '/v1/health'), ('GET', '/v1/health/'), ('GET', '/v1/health?a=b'),
     ('DELETE', '/v1/pools/fast/volumes'), ('PUT', '/v1/pools//volumes/volume-1'), ('GET', '//v1/health')],
)  # fmt: skip
def test_what_is_no_route_is_refused(files: Rig, method: str, path: str) -> None:
    with pytest.raises(NoRoute):
        ask(files, method, path)


@pytest.mark.parametrize(
    'name', ['..', '.', 'volume-..', 'volume-1.new', '%2e%2e', 'snapshot-1', 'volume-', 'volume-é']
)
def test_a_path_s_names_keep_to_their_grammar(files: Rig, name: str) -> None:
    with pytest.raises(Invalid):
        ask(files, 'PUT', f'/v1/pools/fast/volumes/{name}', {'size_bytes': GIB})
    assert list(files.folder.rglob('*.new')) == []


@pytest.mark.parametrize(
    'body',
    [{}, {'size_bytes': 0}, {'size_bytes': -512}, {'size_bytes': 511}, {'size_bytes': True}, {'size_bytes': '512'},
     {'size_bytes': 512.0}, {'size_bytes': 2**60}, {'size_bytes': None}, {'size_bytes': GIB, 'more': 1},
     {'size_bytes': GIB, 'source': 'volume-2'}, {'size_bytes': GIB, 'source': {'volume': 1}},
     {'size_bytes': GIB, 'source': None}, [], 'x', 1],
)  # fmt: skip
def test_a_body_that_is_wrong_is_refused(files: Rig, body: object) -> None:
    with pytest.raises(Invalid):
        ask(files, 'PUT', VOLUME, body)
    assert files.appliance.list_objects('fast') == {'objects': []}


@pytest.mark.parametrize('body', [b'{', b'\xff', b'[' * 5000, b'nul', b'{"size_bytes": 512,}', b'NaN'])
def test_what_is_no_json_object_is_refused(files: Rig, body: bytes) -> None:
    with pytest.raises(Invalid):
        answer(files.appliance, 'PUT', VOLUME, body)


@pytest.mark.parametrize(
    'body',
    [{'initiator': HOST}, {'initiator': HOST, 'mode': 'wr'}, {'initiator': 'ALL', 'mode': 'rw'},
     {'initiator': [HOST], 'mode': 'rw'}, {'mode': 'rw'}],
)  # fmt: skip
def test_an_export_that_is_wrong_is_refused(files: Rig, body: object) -> None:
    ask(files, 'PUT', VOLUME, {'size_bytes': GIB})
    with pytest.raises(Invalid):
        ask(files, 'PUT', EXPORT, body)
    assert files.tgt.live == {}


ONE = {'pool': 'fast', 'snapshot': 'snapshot-1', 'volume': 'volume-1'}


@pytest.mark.parametrize(
    'snapshots',
    [None, {}, [], [1], [ONE, ONE], [ONE, {**ONE, 'snapshot': 'snapshot-2'}], [{**ONE, 'more': 1}],
     [{**ONE, 'volume': 'snapshot-1'}], [{**ONE, 'pool': '..'}], [{'pool': 'fast', 'snapshot': 'snapshot-1'}],
     [{**ONE, 'snapshot': f'snapshot-{n}', 'volume': f'volume-{n}'} for n in range(65)]],
)  # fmt: skip
def test_a_group_that_is_wrong_is_refused(files: Rig, snapshots: object) -> None:
    ask(files, 'PUT', VOLUME, {'size_bytes': GIB})
    with pytest.raises(Invalid):
        ask(files, 'PUT', '/v1/snapshots', {'snapshots': snapshots})
    assert files.appliance.list_objects('fast') == {'objects': ['volume-1']}


def test_a_group_is_answered_in_its_order(files: Rig) -> None:
    for number in (1, 2):
        ask(files, 'PUT', f'/v1/pools/fast/volumes/volume-{number}', {'size_bytes': GIB})
    wanted = [{**ONE, 'snapshot': f'snapshot-{n}', 'volume': f'volume-{n}'} for n in (2, 1)]
    found = ask(files, 'PUT', '/v1/snapshots', {'snapshots': wanted})['snapshots']
    assert [one['source'] for one in found] == ['volume-2', 'volume-1']


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


NAMES = ['fast', 'volume-1', 'snapshot-1', '0', '4096']

FIELDS = st.sampled_from(['size_bytes', 'source', 'volume', 'snapshot', 'initiator', 'mode'])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(['GET', 'PUT', 'DELETE']),
    route=st.sampled_from(ROUTES),
    names=st.lists(st.text(max_size=12) | st.sampled_from(NAMES), min_size=5, max_size=5),
    body=JSON | st.dictionaries(FIELDS, JSON),
)
def test_garbage_is_answered_or_refused(files: Rig, method: str, route: Any, names: list[str], body: object) -> None:
    """Nothing but an ApplianceError comes out, and the objects are there as before."""
    files.appliance.create_volume(Key('slow', 'volume-9'), GIB)
    with contextlib.suppress(ApplianceError):
        ask(files, method, re.sub(r'{\w+}', lambda _: names.pop(), route.path), body)
    assert sorted(path.name for path in files.folder.iterdir()) == ['journal', 'store']
    assert files.appliance.list_objects('slow') == {'objects': ['volume-9']}
