from __future__ import annotations

import sys
import types

import pytest

from chalicelib.iscsi import parameters
from chalicelib.iscsi.parameters import SessionParameters
from chalicelib.iscsi.pdu import Malformed

AGREED = {
    'HeaderDigest': 'None',
    'DataDigest': 'None',
    'MaxRecvDataSegmentLength': '65536',
    'InitialR2T': 'No',
    'ImmediateData': 'Yes',
    'MaxBurstLength': '524288',
    'FirstBurstLength': '131072',
}


def test_what_the_target_takes_counts() -> None:
    assert SessionParameters.agreed(AGREED) == SessionParameters(
        max_send_segment=65536,
        max_burst_length=524288,
        first_burst_length=131072,
        initial_r2t=False,
        immediate_data=True,
        header_digest=False,
    )


def test_the_rfc_speaks_where_the_target_is_silent() -> None:
    """RFC 7143, section 13: each key's default, combined with our offer."""
    assert SessionParameters.agreed({}) == SessionParameters(
        max_send_segment=8192,
        max_burst_length=262144,
        first_burst_length=65536,
        initial_r2t=True,
        immediate_data=True,
        header_digest=False,
    )


@pytest.mark.parametrize('word', ['Irrelevant', 'Reject', 'NotUnderstood'])
def test_so_it_does_where_a_key_does_not_count(word: str) -> None:
    assert SessionParameters.agreed(dict.fromkeys(AGREED, word)) == SessionParameters.agreed({})


@pytest.mark.parametrize(
    ('key', 'value', 'field', 'expected'),
    [
        ('MaxRecvDataSegmentLength', '16777215', 'max_send_segment', 16776704),
        ('MaxRecvDataSegmentLength', '1000', 'max_send_segment', 512),
        ('MaxRecvDataSegmentLength', '0x2000', 'max_send_segment', 8192),
        ('MaxBurstLength', '16777215', 'max_burst_length', 1048576),
        ('FirstBurstLength', '16777215', 'first_burst_length', 262144),
        ('MaxBurstLength', '512', 'first_burst_length', 512),
        ('InitialR2T', 'Yes', 'initial_r2t', True),
        ('ImmediateData', 'No', 'immediate_data', False),
    ],
)
def test_an_answer_never_goes_beyond_our_offer(key: str, value: str, field: str, expected: object) -> None:
    assert getattr(SessionParameters.agreed(AGREED | {key: value}), field) == expected


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('MaxRecvDataSegmentLength', '511'),
        ('MaxRecvDataSegmentLength', '16777216'),
        ('MaxRecvDataSegmentLength', '-8192'),
        ('MaxRecvDataSegmentLength', 'many'),
        ('MaxBurstLength', '0'),
        ('FirstBurstLength', ''),
        ('ErrorRecoveryLevel', '3'),
        ('MaxConnections', '0'),
        ('InitialR2T', 'yes'),
        ('DataPDUInOrder', '1'),
        ('HeaderDigest', 'CRC32C'),
        ('HeaderDigest', 'MD5'),
        ('DataDigest', 'CRC32C'),
    ],
)
def test_an_answer_that_cannot_be_is_refused(key: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'google_crc32c', None)
    with pytest.raises(Malformed):
        SessionParameters.agreed(AGREED | {key: value})


def test_unasked_keys_are_answered_unless_they_are_declarations() -> None:
    keys = {
        'TargetAlias': 'a',
        'TargetPortalGroupTag': '1',
        'OFMarker': 'No',
        'X-vendor': '1',
        'TaskReporting': 'Reject',
    }
    assert parameters.answers_to(AGREED | keys) == {'OFMarker': 'NotUnderstood', 'X-vendor': 'NotUnderstood'}


@pytest.mark.parametrize(('implementation', 'offered'), [('c', 'CRC32C,None'), ('python', 'None'), (None, 'None')])
def test_header_digests_only_where_they_are_cheap(
    implementation: str | None, offered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType('google_crc32c')
    module.__dict__.update(implementation=implementation, value=len)
    monkeypatch.setitem(sys.modules, 'google_crc32c', module if implementation else None)
    assert parameters.offer()['HeaderDigest'] == offered
    assert parameters.offer()['DataDigest'] == 'None'
    answer = AGREED | {'HeaderDigest': offered.split(',')[0]}
    assert SessionParameters.agreed(answer).header_digest is (implementation == 'c')


def test_offers_are_within_the_bounds_we_hold_targets_to() -> None:
    for key, number in parameters.NUMBERS.items():
        assert number.lowest <= number.offer <= number.highest, key
        assert number.lowest <= number.default <= number.highest, key
