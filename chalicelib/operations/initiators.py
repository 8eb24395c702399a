"""Whose an initiator's name is. A connector is written by a member, so the name in it does not prove a host.

A name that another project uses is refused: its targets would appear in that host's answer to SendTargets, and on a
backend with one CHAP account for each host (ONTAP) the caller would read that host's account. Compute hosts serve many
projects: a request that a service vouches for (Nova's service token, which Cinder needs since CVE-2023-2088) makes the
name one of the cloud's own, which members alone may not use any more.

The name is a record of its own, written under a condition. It costs one read for each connection, and one write for the
first. ``host`` and ``ip`` of a connector are shown and compared within one volume; nothing is granted by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Attachment, Name, Volume, base, reading
from chalicelib.operations import exports

#: Owner of the names of the cloud's own hosts.
SHARED = '*'


def check(context: Context, project_id: str, connector: Mapping[str, Any]) -> None:
    """Raise InvalidConnector for an initiator that another project uses, or the cloud's hosts.

    ``project_id``: the volume's. Administrators may use any name.
    """
    name = _name(connector)
    if not name or (context.is_admin and not context.is_service_request):
        return
    owner = SHARED if context.is_service_request else project_id
    known = _known(name) or _claimed(name, owner)
    if known.owner == owner:
        return
    if owner != SHARED and (known.owner == SHARED or _is_used(known.owner, name)):
        raise errors.InvalidConnector(missing=f'initiator: {name} is used by others; give the name of your own host')
    try:
        base.update(known, [Name.owner.set(owner), *base.touched(Name)], Name.owner == known.owner)
    except errors.StateChanged:
        raise errors.ServiceUnavailable(reason=f'initiator {name} is being used just now; try again') from None


def keys(connector: Mapping[str, Any]) -> list[reading.Key]:
    """Return the key of the record that ``check`` reads, for ``reading.together``."""
    name = _name(connector)
    return [Name.key(base.GLOBAL, _id(name))] if name else []


def _name(connector: Mapping[str, Any]) -> str:
    return str(connector.get('initiator') or '').lower()[: exports.LONGEST_NAME]


def _id(name: str) -> str:
    return f'initiator:{name}'


def _known(name: str) -> Name | None:
    return Name.find_or_none(base.GLOBAL, _id(name))


def _claimed(name: str, owner: str) -> Name:
    """Claim a name that is free; return what it is then, which may be another's claim."""
    claim = Name(base.GLOBAL, _id(name), created_at=base.now(), owner=owner)
    try:
        base.put(claim, Name.id.does_not_exist())
    except errors.StateChanged:
        return claim.reload()
    return claim


def _is_used(project_id: str, name: str) -> bool:
    """Whether an attachment or another export of the project leads to the initiator."""
    connectors = (attachment.connector or {} for attachment in base.every(Attachment, project_id))
    entries = (entry for volume in base.every(Volume, project_id) for entry in volume.exports.values())
    return any(str(one.get('initiator') or '').lower() == name for one in [*connectors, *entries])
