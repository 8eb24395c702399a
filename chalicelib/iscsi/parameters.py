"""The keys of the operational stage (RFC 7143, section 13): the initiator's offer, and the negotiated values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

from chalicelib.iscsi.pdu import Malformed
from chalicelib.iscsi.transport import fast_crc32c

_LONGEST_SEGMENT = 2**24 - 1


class Number(NamedTuple):
    """A numeric key: the offer, RFC 7143's default and bounds, and the function that combines both values."""

    offer: int
    default: int
    lowest: int
    highest: int
    result: Callable[[int, int], int]


class Flag(NamedTuple):
    """A Yes/No key. The offer leaves the result to the target (No to an OR, Yes to an AND), or requests the order that
    the initiator requires."""

    offer: bool
    default: bool


def _answered(offer: int, answer: int) -> int:
    """Return the target's value: a declarative key has one value for each side."""
    return answer


#: Data segments up to this length are received in one piece; longer ones were not measured to be cheaper.
MAX_RECV_DATA_SEGMENT_LENGTH = 262144

NUMBERS: Mapping[str, Number] = {
    'MaxRecvDataSegmentLength': Number(MAX_RECV_DATA_SEGMENT_LENGTH, 8192, 512, _LONGEST_SEGMENT, _answered),
    'MaxBurstLength': Number(1048576, 262144, 512, _LONGEST_SEGMENT, min),
    'FirstBurstLength': Number(262144, 65536, 512, _LONGEST_SEGMENT, min),
    'MaxOutstandingR2T': Number(16, 1, 1, 65535, min),
    'MaxConnections': Number(1, 1, 1, 65535, min),
    'ErrorRecoveryLevel': Number(0, 0, 0, 2, min),
    'DefaultTime2Wait': Number(0, 2, 0, 3600, max),
    'DefaultTime2Retain': Number(0, 20, 0, 3600, min),
}

FLAGS: Mapping[str, Flag] = {
    'InitialR2T': Flag(offer=False, default=True),
    'ImmediateData': Flag(offer=True, default=True),
    'DataPDUInOrder': Flag(offer=True, default=True),
    'DataSequenceInOrder': Flag(offer=True, default=True),
}

#: Keys that a target declares and that need no answer.
DECLARATIVE = frozenset({'TargetAlias', 'TargetAddress', 'TargetPortalGroupTag', 'MaxRecvDataSegmentLength'})

#: Answers that make the default count.
_NO_ANSWER = frozenset({'Reject', 'Irrelevant', 'NotUnderstood'})


@dataclasses.dataclass(frozen=True, slots=True)
class SessionParameters:
    """The negotiated values that this side uses. Lengths in bytes.

    ``max_send_segment`` is the target's MaxRecvDataSegmentLength, rounded down so that no segment needs padding.
    """

    max_send_segment: int
    max_burst_length: int
    first_burst_length: int
    initial_r2t: bool
    immediate_data: bool
    header_digest: bool

    @classmethod
    def agreed(cls, answers: Mapping[str, str]) -> SessionParameters:
        """Return the result for the keys that the target sent. Raises Malformed on values that the RFC forbids."""
        numbers = {key: _number(key, answers) for key in NUMBERS}
        flags = {key: _flag(key, answers) for key in FLAGS}
        return cls(
            max_send_segment=numbers['MaxRecvDataSegmentLength'] & ~511,
            max_burst_length=numbers['MaxBurstLength'],
            first_burst_length=min(numbers['FirstBurstLength'], numbers['MaxBurstLength']),
            initial_r2t=flags['InitialR2T'],
            immediate_data=flags['ImmediateData'],
            header_digest=_header_digest(answers),
        )


def offer() -> dict[str, str]:
    """Return the initiator's offer. It has no data digest: TCP's checksum and the layers above protect the data."""
    digest = {'HeaderDigest': 'CRC32C,None' if fast_crc32c() else 'None', 'DataDigest': 'None'}
    numbers = {key: str(number.offer) for key, number in NUMBERS.items()}
    flags = {key: _yes_no(flag.offer) for key, flag in FLAGS.items()}
    return digest | numbers | flags


def answers_to(keys: Mapping[str, str]) -> dict[str, str]:
    """Return the answers to keys that only the target sent: that they are not understood.

    A key of the offer is the target's answer to it, and declarations need no answer.
    """
    known = NUMBERS.keys() | FLAGS.keys() | DECLARATIVE | {'HeaderDigest', 'DataDigest', 'AuthMethod'}
    return {key: 'NotUnderstood' for key, value in keys.items() if key not in known and value not in _NO_ANSWER}


def _number(key: str, answers: Mapping[str, str]) -> int:
    number, answer = NUMBERS[key], answers.get(key)
    if answer is None or answer in _NO_ANSWER:
        return number.result(number.offer, number.default)
    try:
        value = int(answer, 16 if answer[:2].lower() == '0x' else 10)
    except ValueError:
        raise Malformed(f'{key} is not a number') from None
    if not number.lowest <= value <= number.highest:
        raise Malformed(f'{key} {value} is not within {number.lowest} and {number.highest}')
    return number.result(number.offer, value)


def _flag(key: str, answers: Mapping[str, str]) -> bool:
    answer = answers.get(key)
    return FLAGS[key].default if answer is None or answer in _NO_ANSWER else _parse_yes_no(key, answer)


def _header_digest(answers: Mapping[str, str]) -> bool:
    """Raises Malformed on a digest that was not offered, also for data."""
    if answers.get('DataDigest', 'None') not in {'None'} | _NO_ANSWER:
        raise Malformed('the target insists on a data digest, which was not offered')
    digest = answers.get('HeaderDigest', 'None')
    if digest not in {'None', 'CRC32C'} | _NO_ANSWER or (digest == 'CRC32C' and fast_crc32c() is None):
        raise Malformed('the target insists on a header digest, which was not offered')
    return digest == 'CRC32C'


def _parse_yes_no(key: str, answer: str) -> bool:
    if answer not in {'Yes', 'No'}:
        raise Malformed(f'{key} is neither Yes nor No')
    return answer == 'Yes'


def _yes_no(value: bool) -> str:
    return 'Yes' if value else 'No'
