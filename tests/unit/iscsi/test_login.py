from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.errors import DeviceError, DeviceTimeout, DeviceUnreachable, LoginFailed, ProtocolError
from chalicelib.iscsi import login
from tests.unit.iscsi.conftest import INITIATOR, connect
from tests.unit.iscsi.fake_target import Double, hang_up, once, patched, reply

LOGIN_RESPONSE = 0x23
CHAP: dict[str, Any] = {'auth_method': 'CHAP', 'auth_username': 'cinder', 'auth_password': 'our-secret'}
MUTUAL = CHAP | {'target_auth_username': 'target', 'target_auth_password': 'their-secret'}


def test_without_authentication(double: Double) -> None:
    connect(double).close()
    assert double.named == {
        'InitiatorName': INITIATOR,
        'TargetName': 'iqn.2026-01.test:double',
        'SessionType': 'Normal',
        'AuthMethod': 'None',
    }
    assert double.heard['MaxConnections'] == '1'
    assert double.heard['ErrorRecoveryLevel'] == '0'


@pytest.mark.parametrize('algorithm', '5678')
def test_chap_with_the_algorithm_the_target_picks(double: Double, algorithm: str) -> None:
    double.chap, double.algorithms = ('cinder', 'our-secret'), algorithm
    connect(double, **CHAP).close()


@pytest.mark.parametrize('algorithm', '5678')
def test_mutual_chap(double: Double, algorithm: str) -> None:
    double.chap, double.own_chap, double.algorithms = ('cinder', 'our-secret'), ('target', 'their-secret'), algorithm
    connect(double, **MUTUAL).close()


def test_wrong_secrets_on_either_side(double: Double) -> None:
    double.chap, double.own_chap = ('cinder', 'another-secret'), ('target', 'their-secret')
    assert '(login status 0x0201)' in refusal(double, **MUTUAL)
    double.chap, double.own_chap = ('cinder', 'our-secret'), ('target', 'another-secret')
    assert 'wrong name or secret in mutual CHAP' in refusal(double, **MUTUAL)
    double.own_chap = None
    assert 'did not authenticate itself' in refusal(double, **MUTUAL)


def test_a_secret_is_not_given_up_for_a_target_that_wants_none(double: Double) -> None:
    assert 'does not authenticate with CHAP' in refusal(double, **CHAP)


def refusal(target: Double, **data: Any) -> str:
    """The message of a refused login, which holds no secret."""
    with pytest.raises(LoginFailed) as caught:
        connect(target, **data)
    assert 'secret' not in caught.value.message.replace('secret in mutual CHAP', '')
    return caught.value.message


@pytest.mark.parametrize('status', [*sorted(login.REFUSALS), 0x02FF, 0x0999])
def test_each_refusal_is_put_into_words(double: Double, status: int) -> None:
    double.login_status = status
    message = refusal(double)
    assert f'portal {double.portal}: ' in message
    assert message.endswith(
        f'{login.REFUSALS.get(status, "the target refused the login")} (login status {status:#06x})'
    )


def test_a_target_out_of_service_may_come_back(double: Double) -> None:
    """Class 3 is not a refusal: drivers may try again."""
    double.login_status = 0x0301
    with pytest.raises(DeviceUnreachable, match='0x0301'):
        connect(double)


def test_a_target_with_keys_of_its_own_gets_an_answer(double: Double) -> None:
    """It answers with T=0, and drops the link if no second login request comes."""
    double.declares = {'TargetAlias': 'a volume', 'X-org.example.key': '1'}
    connect(double).close()
    assert double.heard['X-org.example.key'] == 'NotUnderstood'
    assert 'TargetAlias' not in double.heard


def test_every_device_has_its_own_isid_and_keeps_it(double: Double) -> None:
    """Session reinstatement (RFC 7143, section 6.3.5): a device ends its own lost session, never that of another."""
    for _ in range(4):
        with connect(double) as device:
            double.hang_up()
            device.flush()
    assert double.isids[0::2] == double.isids[1::2]
    assert len(set(double.isids)) == 4
    assert {isid[0] for isid in double.isids} == {0x80}


@pytest.mark.parametrize('authentication', [{}, MUTUAL])
def test_answers_in_parts(double: Double, authentication: dict[str, Any]) -> None:
    """The C bit: the text continues in the next PDU, which an empty request fetches."""
    double.split_text = True
    double.answers = {'MaxRecvDataSegmentLength': '512'}
    double.chap, double.own_chap = (
        (('cinder', 'our-secret'), ('target', 'their-secret')) if authentication else (None,) * 2
    )
    with connect(double, **authentication) as device:
        device.write(0, bytes(4096))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (patched(0, 0x20, 1), 'opcode 0x20 came where a login response was due'),
        (patched(16, 77), 'came where a login response was due'),
        (patched(1, 0x87, 1), 'in a login stage other than'),
        (patched(1, 0x83, 1), 'moved to a login stage that was not offered'),
        (patched(4, 1, 1), 'additional header segments'),
        (patched(5, 2**24 - 1, 3), 'data segment of 16777215 bytes'),
        (lambda pdu: [reply(LOGIN_RESPONSE, flags=0x81, tag=0, data=b'nonsense')], 'a pair without "="'),
    ],
)
def test_a_broken_answer_ends_the_login(double: Double, change: Callable[[bytes], list[bytes]], message: str) -> None:
    double.tamper = once(LOGIN_RESPONSE, change)
    with pytest.raises(ProtocolError, match=message):
        connect(double)


def test_a_login_without_end(double: Double) -> None:
    for flags, message in ((0x00, 'did not end within'), (0x40, 'did not end within|does not end its login text')):
        answer = reply(LOGIN_RESPONSE, flags=flags, tag=0, data=b'X' * 60000 if flags else b'')
        double.tamper = lambda number, pdu, answer=answer: [answer]  # type: ignore[misc]
        with pytest.raises(ProtocolError, match=message):
            connect(double)


def test_a_silent_target(double: Double) -> None:
    for silent_from in range(3):
        numbers = itertools.count()
        double.tamper = lambda number, pdu, n=numbers, k=silent_from: [pdu] if next(n) < k else []  # type: ignore[misc]
        with pytest.raises(DeviceTimeout, match=r'did not answer in 0\.2 s'):
            connect(double, timeout=0.2)


def test_a_target_that_hangs_up(double: Double) -> None:
    double.tamper = once(LOGIN_RESPONSE, hang_up)
    with pytest.raises(DeviceUnreachable, match='closed the connection'):
        connect(double)


def test_no_error_is_silent_about_the_device(double: Double) -> None:
    double.login_status = 0x0203
    with pytest.raises(DeviceError, match=r'^The device iqn\.2026-01\.test:double LUN 1 failed: '):
        connect(double)
