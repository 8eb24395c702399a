"""The login phase (RFC 7143, sections 6.3 and 11.12): names, CHAP if configured, and the session's parameters."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping

from chalicelib.iscsi import parameters, pdu
from chalicelib.iscsi.chap import OFFER as CHAP_OFFER
from chalicelib.iscsi.chap import Credentials, Exchange, LoginRefused
from chalicelib.iscsi.parameters import SessionParameters
from chalicelib.iscsi.pdu import Malformed, Opcode, Response
from chalicelib.iscsi.transport import Connection

SECURITY, OPERATIONAL, FULL_FEATURE = 0, 1, 3

#: A login takes two to six exchanges; a target that needs more is taken for broken.
_MOST_EXCHANGES = 24

#: Status class and detail (RFC 7143, section 11.13.5) -> message for the operator.
REFUSALS: Mapping[int, str] = {
    0x0101: 'the target has moved temporarily: use its new portal',
    0x0102: 'the target has moved permanently: use its new portal',
    0x0200: 'the target reports an error of the initiator',
    0x0201: 'authentication failed: check the CHAP username and password on both sides',
    0x0202: 'this initiator is not allowed to use the target: check its access list',
    0x0203: 'no such target, or it is hidden from this initiator: check the name and the access list',
    0x0204: 'the target was removed',
    0x0205: 'the target does not support version 0 of iSCSI',
    0x0206: 'the target has too many connections',
    0x0207: 'the target misses a parameter',
    0x0208: 'the target cannot include this connection in a session',
    0x0209: 'the target does not offer normal sessions',
    0x020A: 'the session does not exist',
    0x020B: 'the target did not expect this login request',
}

_TARGET_ERROR = 3

# Parts of the flags: the current stage, and the transit bit with the next stage.
_STAGE, _TRANSIT = 0x0C, 0x83


class TargetUnavailable(ConnectionError):
    """The target refuses every login for now (status class 3: service unavailable, out of resources)."""


@dataclasses.dataclass(frozen=True, slots=True)
class LoggedIn:
    """The state with which the full feature phase starts."""

    parameters: SessionParameters
    cmd_sn: int
    exp_stat_sn: int
    max_cmd_sn: int


@dataclasses.dataclass(frozen=True, slots=True)
class Initiator:
    """The initiator of a session. ``isid`` distinguishes sessions of one name: a second login with both equal ends the
    first session and all its commands (session reinstatement, RFC 7143, section 6.3.5)."""

    name: str
    isid: bytes
    credentials: Credentials | None

    @classmethod
    def with_random_isid(cls, name: str, credentials: Credentials | None) -> Initiator:
        """Use a random ISID (type 2, section 11.12.5), so that workers of one name do not end each other's sessions."""
        return cls(name, b'\x80' + secrets.token_bytes(5), credentials)


def login(connection: Connection, initiator: Initiator, target_iqn: str, deadline: float) -> LoggedIn:
    """Log in to a new, normal session. Raises LoginRefused, Malformed, OSError."""
    dialogue = _Dialogue(connection, initiator.isid, deadline)
    names = {'InitiatorName': initiator.name, 'TargetName': target_iqn, 'SessionType': 'Normal'}
    if initiator.credentials is None:
        dialogue.finish_stage(SECURITY, OPERATIONAL, names | {'AuthMethod': 'None'})
    else:
        _authenticate(dialogue, names, initiator.credentials)
    keys = dialogue.finish_stage(OPERATIONAL, FULL_FEATURE, parameters.offer())
    return dialogue.result(SessionParameters.agreed(keys))


def _authenticate(dialogue: _Dialogue, names: Mapping[str, str], credentials: Credentials) -> None:
    """Only CHAP is offered: with a configured secret, a session without authentication is not acceptable."""
    keys = dialogue.exchange(SECURITY, {**names, 'AuthMethod': 'CHAP'})
    if keys.get('AuthMethod') != 'CHAP':
        raise LoginRefused('the target does not authenticate with CHAP: remove the credentials or configure them there')
    exchange = Exchange(credentials)
    reply = exchange.respond(dialogue.exchange(SECURITY, {'CHAP_A': CHAP_OFFER}))
    exchange.verify(dialogue.finish_stage(SECURITY, OPERATIONAL, reply))


class _Dialogue:
    """Login requests and responses in lockstep: one request, one response."""

    def __init__(self, connection: Connection, isid: bytes, deadline: float) -> None:
        self._connection = connection
        self._isid = isid
        self._deadline = deadline
        self._cmd_sn = secrets.randbits(32)
        self._exp_stat_sn = 0
        self._max_cmd_sn = 0
        self._exchanges = 0

    def exchange(self, stage: int, keys: Mapping[str, str]) -> dict[str, str]:
        """Send keys while staying in the stage; return all keys of the target's response."""
        return self._exchange(stage << 2, keys)[0]

    def finish_stage(self, stage: int, following: int, keys: Mapping[str, str]) -> dict[str, str]:
        """Offer the next stage until the target agrees; it may first declare keys of its own, which need an answer."""
        received: dict[str, str] = {}
        moved = False
        while not moved:
            answer, moved = self._exchange(pdu.FINAL | stage << 2 | following, keys)
            received |= answer
            keys = parameters.answers_to(answer) if stage == OPERATIONAL else {}
        return received

    def result(self, agreed: SessionParameters) -> LoggedIn:
        return LoggedIn(agreed, self._cmd_sn, self._exp_stat_sn, self._max_cmd_sn)

    def _exchange(self, flags: int, keys: Mapping[str, str]) -> tuple[dict[str, str], bool]:
        """Send one request; return the complete response, and whether the target moved to the next stage.

        A response may come in several parts; each further part is requested by an empty request that offers nothing.
        """
        response, text = self._turn(flags, flags, pdu.encode_keys(keys))
        while response.flags & pdu.CONTINUE:
            response, more = self._turn(flags & _STAGE, flags, b'')
            text += more
            if len(text) > pdu.TEXT_LIMIT:
                raise Malformed('the target does not end its login text')
        return pdu.decode_keys(text), bool(response.flags & pdu.FINAL)

    def _turn(self, flags: int, offered: int, text: bytes) -> tuple[Response, bytes]:
        self._exchanges += 1
        if self._exchanges > _MOST_EXCHANGES:
            raise Malformed(f'the login did not end within {_MOST_EXCHANGES} exchanges')
        header = pdu.login(flags, len(text), self._isid, 0, self._cmd_sn, self._exp_stat_sn)
        self._connection.send([(header, pdu.padded(text))], self._deadline)
        response = self._connection.receive_header(self._deadline)
        data = self._connection.receive_data(response.data_length, self._deadline)
        self._check(response, offered)
        self._exp_stat_sn = (response.stat_sn + 1) & 0xFFFFFFFF
        self._max_cmd_sn = response.max_cmd_sn
        return response, data

    def _check(self, response: Response, offered: int) -> None:
        if response.opcode != Opcode.LOGIN_RESPONSE or response.tag != 0:
            raise Malformed(f'opcode {response.opcode:#04x} came where a login response was due')
        refusal = response.sn >> 16
        if refusal >> 8 == _TARGET_ERROR:
            raise TargetUnavailable(f'the target is out of service or out of resources (login status {refusal:#06x})')
        if refusal:
            raise LoginRefused(f'{REFUSALS.get(refusal, "the target refused the login")} (login status {refusal:#06x})')
        if response.flags & _STAGE != offered & _STAGE:
            raise Malformed('the target answered in a login stage other than that of the request')
        if response.flags & pdu.FINAL and response.flags & _TRANSIT != offered & _TRANSIT:
            raise Malformed('the target moved to a login stage that was not offered')
