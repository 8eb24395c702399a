"""Headers against the layouts of RFC 7143, section 11, written out byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.iscsi import pdu
from chalicelib.iscsi.pdu import Malformed, Response

LUN = bytes([0, 1, 0, 0, 0, 0, 0, 0])


def layout(*parts: str) -> bytes:
    return bytes.fromhex(''.join(parts))


def test_scsi_command() -> None:
    header = pdu.scsi_command(pdu.FINAL | pdu.WRITE, 0x200, LUN, 5, 0x100000, 7, 9, bytes(range(16)))
    assert header == layout(
        '01 a1 0000 00 000200', LUN.hex(), '00000005 00100000 00000007 00000009', bytes(range(16)).hex()
    )


def test_data_out() -> None:
    header = pdu.data_out(True, 0x1000, LUN, 5, 0xABCD, 9, 3, 0x3000)
    assert header == layout(
        '05 80 0000 00 001000', LUN.hex(), '00000005 0000abcd 00000000 00000009 00000000 00000003 00003000 00000000'
    )
    assert pdu.data_out(False, 0, LUN, 5, 6, 9, 3, 0)[1] == 0


def test_nop_out_answers_a_ping() -> None:
    header = pdu.nop_out(LUN, 0xABCD, 7, 9)
    assert header == layout('40 80 0000 00000000', LUN.hex(), 'ffffffff 0000abcd 00000007 00000009', '00' * 16)


def test_logout_closes_the_session() -> None:
    header = pdu.logout(5, 7, 9)
    assert header == layout('46 80 0000 00000000', '00' * 8, '00000005 00000000 00000007 00000009', '00' * 16)


def test_login() -> None:
    header = pdu.login(0x87, 0x123, bytes.fromhex('800102030405'), 0, 7, 9)
    assert header == layout('43 87 0000 00 000123', '800102030405 0000 00000000 0000 0000 00000007 00000009', '00' * 16)


def test_a_response() -> None:
    header = layout('a5 81 0302 00 000200', LUN.hex(), ''.join(f'{word:08x}' for word in range(1, 9)))
    assert Response.parse(header) == (0x25, 0x81, 3, 2, 0x200, LUN, 1, 2, 3, 4, 5, 6, 7, 8)


def test_additional_header_segments_are_refused() -> None:
    with pytest.raises(Malformed, match='additional header'):
        Response.parse(layout('25 80 0000 01 000000') + bytes(40))


def test_newer_wraps_around() -> None:
    assert pdu.newer(1, 0)
    assert pdu.newer(0, 0xFFFFFFFF)
    assert pdu.newer(0x7FFFFFFF, 0)
    assert not pdu.newer(0, 0)
    assert not pdu.newer(0xFFFFFFFF, 0)
    assert not pdu.newer(0x80000000, 0)


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_a_data_segment_is_padded_to_four_bytes(text: bytes) -> None:
    padded = pdu.padded(text)
    assert len(padded) % 4 == 0
    assert 0 <= len(padded) - len(text) < 4
    assert padded.rstrip(b'\0') == text.rstrip(b'\0')


names = st.text(st.characters(exclude_characters='=\0', exclude_categories=['Cs']), min_size=1)
values = st.text(st.characters(exclude_characters='\0', exclude_categories=['Cs']))


@settings(deadline=None)
@given(st.dictionaries(names, values))
def test_keys_survive_the_wire(keys: dict[str, str]) -> None:
    assert pdu.decode_keys(pdu.padded(pdu.encode_keys(keys))) == keys


@pytest.mark.parametrize('text', [b'secret\0', b'Key=secret\0Key=secret\0', b'Key=secret\xff\0'])
def test_bad_text_is_refused_without_quoting_it(text: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        pdu.decode_keys(text)
    assert 'secret' not in str(caught.value)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_text_is_read_or_refused(text: bytes) -> None:
    try:
        keys = pdu.decode_keys(text)
    except Malformed:
        return
    assert all('\0' not in key + value for key, value in keys.items())
