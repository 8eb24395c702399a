from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import BadInitiator, Invalid
from appliance.names import GRAMMAR, Key, check

GOOD = {
    'pool': ['fast', 'a', 'Pool_1-b'],
    'volume': ['volume-1', 'volume-145640ba-3b54-4ec2-82d0-5e656a01cf30'],
    'snapshot': ['snapshot-1'],
    'object': ['volume-1', 'snapshot-1'],
    'any': ['lv_of_somebody', 'volume-1'],
    'older': ['snapshot-1'],
    'start': ['0', '1099511627776'],
    'stop': ['1099511627776'],
    'export_id': ['145640ba-3b54-4ec2-82d0-5e656a01cf30', 'backup-1'],
    'initiator': ['iqn.1993-08.org.debian:01:604af6a341', 'iqn.2026-01.a', 'eui.02004567A425678D', 'naa.' + '5' * 16],
}

TRICKS = [
    '',
    '.',
    '..',
    '../x',
    'a/b',
    '/etc',
    'a\0',
    'a\n',
    '-rf',
    'a b',
    'a,b',
    'a=b',
    'a%2fb',
    'a;b',
    'é',
    'x' * 300,
]


@pytest.mark.parametrize(('kind', 'name'), [(kind, name) for kind, names in GOOD.items() for name in names])
def test_a_good_name_is_taken_as_it_is(kind: str, name: str) -> None:
    assert check(kind, name) == name


@pytest.mark.parametrize('kind', GRAMMAR)
@pytest.mark.parametrize('name', [*TRICKS, 1, None, ['a']])
def test_tricks_are_refused(kind: str, name: object) -> None:
    with pytest.raises(Invalid):
        check(kind, name)


@pytest.mark.parametrize('kind', GRAMMAR)
@given(tail=st.text(max_size=20))
def test_no_name_can_leave_its_folder_or_its_parameter(kind: str, tail: str) -> None:
    try:
        name = check(kind, GOOD[kind][0] + tail)
    except Invalid:
        return
    assert not set(name) & set('/\\,= \t\n\0"\'%;&|$')
    assert not name.startswith(('-', '.'))


@pytest.mark.parametrize('kind', sorted(set(GRAMMAR) - {'initiator'}))
def test_no_name_is_one_of_the_stores_own(kind: str) -> None:
    for name in GOOD[kind]:
        with pytest.raises(Invalid):
            check(kind, name + '.new')


@pytest.mark.parametrize('name', ['ALL', '192.0.2.1', 'iqn.', 'iqn.20-1.a', 'host', 'eui.123'])
def test_what_is_no_initiator_is_the_host_s_fault(name: str) -> None:
    with pytest.raises(BadInitiator):
        check('initiator', name)


@pytest.mark.parametrize(('kind', 'name'), [('volume', 'snapshot-1'), ('snapshot', 'volume-1'), ('object', 'other-1')])
def test_kinds_are_told_apart(kind: str, name: str) -> None:
    with pytest.raises(Invalid):
        check(kind, name)


def test_a_key_knows_what_it_names() -> None:
    assert Key('p', 'snapshot-1').is_snapshot
    assert not Key('p', 'volume-1').is_snapshot
    assert str(Key('p', 'volume-1')) == 'p/volume-1'
