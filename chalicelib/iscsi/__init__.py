"""An iSCSI initiator in pure Python: a LUN of a target as a ``BlockDevice``, without a kernel, root or a subprocess.

The layers, each of which knows only those before it:

    pdu          what is on the wire: headers, text keys, tags          (RFC 7143, section 11)
    connection   one TCP connection; every call has a deadline
    chap         who is who                                             (RFC 7143, section 12.1; RFC 1994)
    parameters   the keys of the operational stage and what comes of them
    login        the login phase: security stage, operational stage
    scsi         commands, sense data, vital product data                (SBC-3, SPC-4)
    session      the full feature phase: commands in flight, the window, R2T, NOP, reject, async messages
    lun          what is asked of a LUN before it is used
    portals      os-brick's connection data
    path         the session in use, and how to get another when it is lost
    transfers    commands over ranges of bytes, several in flight
    thin         what is allocated, and how to free it
    device       the BlockDevice

Up to ``session`` nothing knows the device's name: errors are OSError (TimeoutError: the deadline has passed),
``Malformed`` (the target broke the protocol), ``LoginRefused`` and ``ScsiError``. ``path`` turns them into the errors
of ``chalicelib.errors``. No message, repr or log line holds a secret.
"""

from chalicelib.iscsi.device import IscsiDevice, open_device
from chalicelib.iscsi.parameters import SessionParameters

__all__ = ['IscsiDevice', 'SessionParameters', 'open_device']
