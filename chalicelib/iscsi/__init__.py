"""An iSCSI initiator in pure Python: a LUN of a target as a ``BlockDevice``, without a kernel, root or a subprocess.

The layers, each of which uses only those before it:

        pdu          the wire format: headers, text keys, tags              (RFC 7143, section 11)
        transport    one TCP connection; every call has a deadline
        chap         authentication                                         (RFC 7143, section 12.1; RFC 1994)
        parameters   the keys of the operational stage and their negotiated values
    login        the login phase: security stage, operational stage
    scsi         commands, sense data, vital product data                (SBC-3, SPC-4)
    session      the full feature phase: commands in flight, the window, R2T, NOP, reject, async messages
        lun          the properties of a LUN, read before it is used
    portals      os-brick's connection data
        reconnect    the current session, and its replacement when it is lost
    transfers    commands over ranges of bytes, several in flight
        thin         allocated ranges, and how to free them
    device       the BlockDevice

Up to ``session`` the layers do not have the device's name: errors are OSError (TimeoutError: the deadline has passed),
``Malformed`` (the target broke the protocol), ``LoginRefused`` and ``ScsiError``. ``reconnect`` translates them into
those of ``chalicelib.errors``. No message, repr or log line holds a secret.
"""

from chalicelib.iscsi.device import IscsiDevice, open_device
from chalicelib.iscsi.parameters import SessionParameters

__all__ = ['IscsiDevice', 'SessionParameters', 'open_device']
