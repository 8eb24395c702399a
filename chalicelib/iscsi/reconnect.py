"""The session to a LUN that reconnects: when a session is lost, the next one resends its commands.

Reads and writes at fixed offsets may be repeated, so commands in flight when a session is lost are sent again on the
next one, a bounded number of times. The new session has the lost one's ISID, so the target first ends what remains of
the old session: an old write never follows a newer one. The unit under a LUN number can change meanwhile: a new session
counts only if the LUN is the same unit. Waiting for one command never takes longer than the timeout, however many
sessions it takes. This module translates errors of the layers below into those of ``chalicelib.errors``.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence

from chalicelib.errors import CheckCondition, DeviceError, DeviceTimeout, DeviceUnreachable, LoginFailed, ProtocolError
from chalicelib.iscsi import scsi
from chalicelib.iscsi.chap import LoginRefused
from chalicelib.iscsi.login import Initiator, login
from chalicelib.iscsi.lun import Lun, probe
from chalicelib.iscsi.pdu import Malformed
from chalicelib.iscsi.portals import ConnectionData, Portal
from chalicelib.iscsi.scsi import ScsiError
from chalicelib.iscsi.session import Command, Session
from chalicelib.iscsi.transport import Connection
from chalicelib.jitter import jittered

_log = logging.getLogger(__name__)

#: Sessions that may be lost under one command.
_MOST_RESENDS = 5
#: Seconds before each attempt to connect again.
_PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0)
_LOGOUT_SECONDS = 2.0

#: Error of the layers below -> error of the device. Of several portals' errors, the first of this order counts.
_ERRORS: Sequence[tuple[type[Exception], type[DeviceError]]] = (
    (LoginRefused, LoginFailed),
    (ScsiError, CheckCondition),
    (Malformed, ProtocolError),
    (TimeoutError, DeviceTimeout),
    (OSError, DeviceUnreachable),
)
_CAUGHT = tuple(low for low, _ in _ERRORS)


class ReconnectingSession:
    """``submit`` sends commands, ``wait`` completes them. Any error but CheckCondition ends the object."""

    def __init__(self, data: ConnectionData, initiator: str, timeout: float) -> None:
        """Connect through the first portal that works. Raises LoginFailed, DeviceTimeout, DeviceUnreachable, ..."""
        self._data = data
        self._initiator = Initiator.with_random_isid(initiator, data.credentials)
        self._timeout = timeout
        self._lun: Lun | None = None
        self._session: Session | None = None
        self._connect((), self._deadline())

    @property
    def device(self) -> str:
        return self._data.device

    @property
    def lun(self) -> Lun:
        """The LUN as it was when the device was opened: a device that grows keeps its size here."""
        assert self._lun is not None
        return self._lun

    def attempt(self, command: Command) -> bool:
        """Run one command; return False when the device does not implement it."""
        try:
            self.submit(command)
            self.wait(command)
        except CheckCondition:
            sense = scsi.Sense.parse(command.sense)
            if sense is None or not sense.is_unsupported:
                raise
            return False
        return True

    def submit(self, command: Command) -> None:
        """Send a command; others may be in flight."""
        self._submit(command, self._deadline())

    def wait(self, command: Command) -> None:
        """Wait for a submitted command; retry it where the device requests that. Raises CheckCondition, DeviceError."""
        deadline = self._deadline()
        while True:
            while not command.done:
                self._drive(Session.receive, deadline)
            pause = self._verdict(command)
            if pause is None:
                return
            time.sleep(min(jittered(pause), max(0.0, deadline - time.monotonic())))
            command.reset()
            command.repeats += 1
            self._submit(command, deadline)

    def close(self) -> None:
        """Log out and close; safe to repeat."""
        session, self._session = self._session, None
        if session is None:
            return
        # A target that does not accept a logout sees the closed connection.
        with contextlib.suppress(OSError, Malformed), contextlib.closing(session):
            session.logout(time.monotonic() + min(_LOGOUT_SECONDS, self._timeout))

    def _deadline(self) -> float:
        return time.monotonic() + self._timeout

    def _submit(self, command: Command, deadline: float) -> None:
        while not command.submitted:
            self._drive(lambda session, deadline: session.submit(command, deadline), deadline)

    def _drive(self, step: Callable[[Session, float], None], deadline: float) -> None:
        """Run one step on the session; if the connection is lost, reconnect and return."""
        if self._session is None:
            raise DeviceError(device=self.device, reason='it is closed')
        try:
            step(self._session, deadline)
        except (TimeoutError, Malformed) as error:
            self._drop()
            raise self._translated([error], str(error)) from error
        except OSError as error:
            self._reconnect(error, deadline)

    def _verdict(self, command: Command) -> float | None:
        try:
            return scsi.repeat_after(command.status, command.sense, command.repeats)
        except ScsiError as error:
            raise self._translated([error], str(error)) from None

    def _drop(self) -> list[Command]:
        """Close the session without a logout; return the commands that were in flight."""
        session, self._session = self._session, None
        assert session is not None
        session.close()
        return list(session.commands.values())

    def _reconnect(self, cause: OSError, deadline: float) -> None:
        commands = self._drop()
        _log.warning('%s: the session was lost (%s), connecting again', self.device, cause)
        failure = self._translated([cause], f'the session was lost: {cause}')
        for command in commands:
            command.resent += 1
            if command.resent > _MOST_RESENDS:
                raise failure from cause
        for pause in map(jittered, _PAUSES):
            if time.monotonic() + pause >= deadline:
                break
            time.sleep(pause)
            try:
                return self._connect(commands, deadline)
            except (DeviceUnreachable, DeviceTimeout) as error:
                failure = error
        raise failure from cause

    def _connect(self, commands: Sequence[Command], deadline: float) -> None:
        """Open a session through the first portal that works, and submit ``commands`` on it again."""
        portals, errors = self._data.portals, []
        for number, portal in enumerate(portals):
            now = time.monotonic()
            try:
                self._session = self._open(portal, commands, now + (deadline - now) / (len(portals) - number))
            except _CAUGHT as error:
                errors.append((portal, error))
            else:
                return
        reason = '; '.join(f'portal {portal}: {error}' for portal, error in errors)
        raise self._translated([error for _, error in errors], reason)

    def _open(self, portal: Portal, commands: Sequence[Command], deadline: float) -> Session:
        connection = Connection.open(portal.host, portal.port, deadline)
        try:
            logged_in = login(connection, self._initiator, portal.target_iqn, deadline)
            session = Session(connection, logged_in, portal.lun)
            self._check_unit(probe(session, deadline))
            for command in commands:
                command.reset()
                session.submit(command, deadline)
        except BaseException:
            connection.close()
            raise
        return session

    def _check_unit(self, lun: Lun) -> None:
        if self._lun is None:
            self._lun = lun
        elif not lun.is_same_unit_as(self._lun):
            raise LoginRefused('the unit behind this LUN is a different one than before, or smaller')

    def _translated(self, errors: Sequence[Exception], reason: str) -> DeviceError:
        kind = next(high for low, high in _ERRORS if any(isinstance(error, low) for error in errors))
        return kind(device=self.device, seconds=self._timeout, reason=reason)
