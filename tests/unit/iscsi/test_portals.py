from __future__ import annotations

from typing import Any

import pytest

from chalicelib.errors import DeviceError
from chalicelib.iscsi.chap import Credentials
from chalicelib.iscsi.portals import ConnectionData, Portal

DATA: dict[str, Any] = {
    'target_discovered': False,
    'target_portal': '10.0.0.1:3260',
    'target_iqn': 'iqn.2010-10.org.openstack:volume-1',
    'target_lun': 1,
    'volume_id': 'a-volume',
}
CHAP = {'auth_method': 'CHAP', 'auth_username': 'cinder', 'auth_password': 'our-secret'}
LUN_1 = bytes([0, 1, 0, 0, 0, 0, 0, 0])


def test_one_portal() -> None:
    data = ConnectionData.parse(DATA)
    assert data.portals == (Portal('10.0.0.1', 3260, DATA['target_iqn'], LUN_1),)
    assert data.credentials is None
    assert data.device == 'iqn.2010-10.org.openstack:volume-1 LUN 1'


def test_several_portals_in_their_order() -> None:
    more = {
        'target_portals': ['10.0.0.2:3260', '10.0.0.1:3261'],
        'target_iqns': ['iqn.a', 'iqn.b'],
        'target_luns': [2, 3],
    }
    portals = ConnectionData.parse(DATA | more).portals
    assert [(portal.host, portal.port, portal.target_iqn, portal.lun[1]) for portal in portals] == [
        ('10.0.0.2', 3260, 'iqn.a', 2),
        ('10.0.0.1', 3261, 'iqn.b', 3),
    ]


def test_iqns_and_luns_default_to_the_single_ones() -> None:
    """As in os-brick."""
    portals = ConnectionData.parse(
        DATA | {'target_portals': ['10.0.0.2:3260', '10.0.0.1:3260', '10.0.0.2:3260']}
    ).portals
    assert [str(portal) for portal in portals] == ['10.0.0.2:3260', '10.0.0.1:3260']
    assert {(portal.target_iqn, portal.lun) for portal in portals} == {(DATA['target_iqn'], LUN_1)}


@pytest.mark.parametrize(
    ('address', 'host', 'port'),
    [
        ('10.0.0.1:860', '10.0.0.1', 860),
        ('10.0.0.1', '10.0.0.1', 3260),
        ('[2001:db8::1]:860', '2001:db8::1', 860),
        ('[2001:db8::1]', '2001:db8::1', 3260),
    ],
)
def test_addresses(address: str, host: str, port: int) -> None:
    portal = ConnectionData.parse(DATA | {'target_portal': address}).portals[0]
    assert (portal.host, portal.port) == (host, port)
    assert str(portal).startswith(address)


@pytest.mark.parametrize(
    ('lun', 'mode', 'encoded'),
    [
        (0, None, '0000'),
        ('7', None, '0007'),
        (300, None, '012c'),
        (300, 'transparent', '012c'),
        (300, 'SAM', '012c'),
        (255, 'SAM2', '00ff'),
        (256, 'SAM2', '4100'),
        (1, 'SAM3-flat', '4001'),
        (0x3FFF, 'SAM2', '7fff'),
    ],
)
def test_luns_are_addressed_as_os_brick_does(lun: object, mode: str | None, encoded: str) -> None:
    data = ConnectionData.parse(DATA | {'target_lun': lun, 'addressing_mode': mode})
    assert data.portals[0].lun.hex() == encoded + '0' * 12


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        ({'target_portal': ''}, 'target_portal is missing'),
        ({'target_portal': ':3260'}, "target_portal ':3260' is not of the form"),
        ({'target_portal': '10.0.0.1:0'}, 'not of the form'),
        ({'target_portal': '10.0.0.1:65536'}, 'not of the form'),
        ({'target_portal': '10.0.0.1:³'}, 'not of the form'),
        ({'target_portal': '10.0.0.1::3260'}, 'not of the form'),
        ({'target_portal': '2001:db8::1'}, 'not of the form'),
        ({'target_portal': '[2001:db8::1]3260x'}, 'not of the form'),
        ({'target_iqn': None}, 'target_iqn is missing'),
        ({'target_lun': None}, 'target_lun is missing'),
        ({'target_lun': -1}, 'target_lun -1 is not a number from 0 to 16383'),
        ({'target_lun': 16384}, 'target_lun 16384'),
        ({'target_lun': 'one'}, "target_lun 'one'"),
        ({'addressing_mode': 'SAM4'}, "addressing_mode 'SAM4'"),
        ({'target_portals': ['10.0.0.1:3260'] * 2, 'target_iqns': ['iqn.a']}, 'differ in length'),
        ({'auth_method': 'Kerberos'}, "auth_method 'Kerberos'"),
        ({'auth_method': 'CHAP'}, 'auth_username is missing'),
        ({'auth_method': 'CHAP', 'auth_username': 'cinder', 'auth_password': ''}, 'auth_password is missing'),
        (CHAP | {'target_auth_password': 'our-secret'}, 'auth_password and target_auth_password must differ'),
    ],
)
def test_what_is_wrong_is_named(more: dict[str, Any], message: str) -> None:
    with pytest.raises(DeviceError) as caught:
        ConnectionData.parse(DATA | more)
    given = DATA | more
    device = f'{given["target_iqn"] or "iSCSI"} LUN {given["target_lun"]}'
    assert caught.value.message.startswith(f'The device {device} failed: connection_info is not usable: ')
    assert message in caught.value.message
    assert 'our-secret' not in caught.value.message


def test_credentials() -> None:
    assert ConnectionData.parse(DATA | CHAP).credentials == Credentials('cinder', 'our-secret')
    mutual = CHAP | {'target_auth_username': 'target', 'target_auth_password': 'their-secret'}
    data = ConnectionData.parse(DATA | mutual)
    assert data.credentials == Credentials('cinder', 'our-secret', 'target', 'their-secret')
    assert 'secret' not in repr(data)
