"""ONTAP's refusals: HTTP status, code and text, from the error tables of NetApp's REST API reference.

Codes that begin with ``x`` are in no published table: clients can match these by their text only, and the double gives
them a code that clients cannot rely on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Code -> (HTTP status, text).
TABLE: Mapping[str, tuple[int, str]] = {
    '1': (409, 'duplicate entry'),
    '2': (400, 'Missing or invalid value: {detail}'),
    '3': (405, 'The operation is not supported.'),
    '4': (404, "entry doesn't exist"),
    '6': (403, 'not authorized for that command'),
    '6691623': (401, 'User is not authorized.'),
    '262179': (400, 'Unexpected argument "{detail}".'),
    '262196': (400, 'Field "{detail}" cannot be set in this operation.'),
    '262197': (400, 'Invalid value for "{detail}".'),
    '918235': (404, 'A volume with the specified UUID was not found.'),
    '917927': (404, 'The specified volume was not found.'),
    '1254197': (409, 'The LUN is mapped and cannot be deleted without allow_delete_while_mapped.'),
    '1254207': (409, 'The LUN is already mapped to the same initiator group.'),
    '1254213': (409, 'The initiator group is mapped to one or more LUNs.'),
    '2621462': (404, 'The specified SVM does not exist or is not accessible to the caller.'),
    '2621707': (400, 'No SVM was specified. Either svm.name or svm.uuid must be supplied.'),
    '5373958': (400, 'An invalid initiator group name was supplied.'),
    '5373993': (400, 'A supplied initiator name did not match any valid format.'),
    '5374023': (409, 'An initiator group with the same name already exists.'),
    '5374034': (404, 'An initiator is not a member of the initiator group.'),
    '5374078': (404, 'The iSCSI service does not exist.'),
    '5374121': (400, 'A LUN name can only contain characters A-Z, a-z, 0-9, "-", ".", "_", "{{" and "}}".'),
    '5374124': (400, 'The specified size is too small for the LUN.'),
    '5374125': (400, 'The specified size is too large for the LUN.'),
    '5374142': (409, 'An iSCSI security credential already exists for the specified initiator.'),
    '5374148': (409, 'The default security credential cannot be deleted for an SVM.'),
    '5374149': (400, 'The inbound user and password properties are required for CHAP authentication.'),
    '5374237': (400, 'LUNs cannot be created on an SVM root volume.'),
    '5374238': (400, 'LUNs cannot be created in snapshots.'),
    '5374242': (409, 'A LUN or NVMe namespace already exists at the specified path.'),
    '5374352': (400, 'An invalid name was provided for the LUN.'),
    '5374852': (404, 'The initiator group does not exist.'),
    '5374859': (400, 'No volume was specified for the LUN.'),
    '5374875': (404, 'The specified LUN was not found.'),
    '5374878': (404, 'The specified initiator group does not exist or is not in the same SVM as the LUN.'),
    '5374883': (400, 'The property cannot be specified when creating a LUN clone.'),
    '5374884': (400, 'A property that is required when creating a new LUN was not supplied.'),
    '5374892': (400, 'An attempt was made to reduce the size of a LUN.'),
    '5374895': (404, 'The iSCSI security credential does not exist on the specified SVM.'),
    '5374900': (400, 'CHAP properties are not supported with authentication types none or deny.'),
    '5374901': (400, 'Either lun.uuid or lun.name must be provided to create a LUN map.'),
    '5374902': (400, 'Either igroup.uuid or igroup.name must be provided to create a LUN map.'),
    '5374922': (404, 'The specified LUN map does not exist.'),
    '5374928': (400, 'An incomplete attribute name/value pair was supplied.'),
    '5374929': (400, 'The combined sizes of an attribute name and value are too large.'),
    '5374930': (409, 'The attribute already exists for the LUN.'),
    '5374931': (404, 'The specified attribute was not found.'),
    '5374942': (400, 'The property cannot be specified at the same time when creating a LUN as a clone.'),
    '5374943': (400, 'The property cannot be specified at the same time when creating a LUN as a copy.'),
    '7018919': (409, 'A copy or move job exists with the same destination LUN.'),
    '8454273': (409, 'The QoS policy already exists.'),
    '13565952': (400, 'The LUN clone request failed. Reason: {detail}.'),
    'x-space': (500, 'Failed to create or resize the LUN: No space left on device.'),
    'x-number': (409, 'The logical unit number is already in use by an initiator of the group.'),
    'x-initiator': (409, 'The LUN is already mapped to an initiator of the group.'),
    'x-policy': (409, 'The QoS policy is in use by workloads.'),
    'x-snapshot': (409, 'The snapshot already exists.'),
    'x-held': (409, 'The snapshot is busy because of a LUN clone.'),
    'x-group': (409, 'A consistency group of that name already exists.'),
    'x-member': (400, 'The volume is already a member of consistency group {detail}.'),
    'x-busy': (409, 'The LUN clone request failed. Reason: Device busy.'),
}


class OntapError(Exception):
    """One row of the table as an answer."""

    def __init__(self, code: str, detail: str = '', target: str = '') -> None:
        self.status, text = TABLE[code]
        self.code = '0' if code.startswith('x') else code
        self.message = text.format(detail=detail)
        self.target = target
        super().__init__(self.message)

    def document(self) -> dict[str, Any]:
        target = {'target': self.target} if self.target else {}
        return {'error': {'code': self.code, 'message': self.message, **target}}
