"""ONTAP's errors as the contract's errors."""

from __future__ import annotations

import re
from collections.abc import Mapping

from chalicelib import errors
from chalicelib.drivers.ontap_client import Refused

#: Codes of NetApp's tables -> the contract's errors. Others: see ``kind``.
_FAILURES: Mapping[str, type[errors.CinderlessError]] = {
    '5374875': errors.ProviderNotFound,
    '5374876': errors.ProviderNotFound,
    '5374125': errors.BackendFull,
    '917927': errors.BackendMisconfigured,
    '2621462': errors.BackendMisconfigured,
    '5374237': errors.BackendMisconfigured,
    '5373969': errors.InvalidConnector,
    '5373971': errors.InvalidConnector,
    '5373972': errors.InvalidConnector,
    '5373977': errors.InvalidConnector,
    '5373978': errors.InvalidConnector,
    '5373992': errors.InvalidConnector,
    '5373993': errors.InvalidConnector,
    '5374039': errors.InvalidConnector,
}

#: NetApp's tables do not contain the codes of this error.
_NO_SPACE = re.compile('no space|not enough space|insufficient space|out of space', re.IGNORECASE)


def kind(refused: Refused) -> type[errors.CinderlessError]:
    """Return the contract's error: by code, by text where no code is published, by status."""
    if refused.code in _FAILURES:
        return _FAILURES[refused.code]
    if _NO_SPACE.search(str(refused)):
        return errors.BackendFull
    return errors.BackendUnavailable if refused.status >= 500 else errors.DriverError
