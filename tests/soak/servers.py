"""The works of a tenant whose volumes are attached to a server of Nova, by the attachments API and as before it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence

from tests.soak.expected import Doubt, Expected, Refused
from tests.soak.tenants import PATIENCE, PLACES, Tenant, Work
from tests.system.crash import BLOCK, pattern


def extend_attached(tenant: Tenant) -> None:
    """Extend a volume that a server uses: Nova is notified, or a message reports that it was not."""
    id, one = tenant.volume()
    new = max(one.sizes) + 1
    if new > 3:
        return
    server = str(uuid.uuid4())
    with tenant.attached(id, one, server) as device:
        before, one.sizes = one.sizes, one.sizes | {new}
        try:
            tenant.post('extend attached', one.user, lambda: one.user.cinder.volumes.extend(id, new))
        except Refused:
            one.sizes = before
            raise
        found = tenant.settled(one.user.cinder.volumes, id)
        one.sizes = {found.size} if found.status == 'in-use' else one.sizes
        if found.size == new and not _is_notified(tenant, id, one, server):
            tenant.broken.append(f'volume {id} was extended, and neither Nova nor the user received a notice')
        tenant.compare(id, one, device.read)


def _is_notified(tenant: Tenant, id: str, one: Expected, server: str) -> bool:
    """Whether Nova, or the user by a message, is notified: after the volume has its size and status, as in Cinder."""
    for _ in range(PATIENCE):
        if ('volume-extended', server, id) in tenant.systems.nova.notified:
            return True
        messages = tenant.call('list messages', lambda: one.user.cinder.messages.list())
        if any(each.resource_uuid == id for each in messages):
            return True
        if tenant.stopped.wait(1):
            raise Doubt('the load ends')
    return False


def take_away(tenant: Tenant) -> None:
    """Try to delete the attachment that a server uses: a user may not (CVE-2023-2088)."""
    id, one = tenant.volume()
    attachments = one.user.cinder.attachments
    with tenant.attached(id, one):
        (found,) = tenant.call('list attachments', lambda: attachments.list(search_opts={'volume_id': id}))
        with contextlib.suppress(Refused):
            tenant.call('take an attachment away', lambda: attachments.delete(found.id))
            tenant.broken.append(f'attachment {found.id} was deleted under its server')


def write_as_before(tenant: Tenant) -> None:
    """Attach as before the attachments API, write, and detach in the same way."""
    id, one = tenant.volume()
    volumes, connector, server = one.user.cinder.volumes, tenant.connector(one.user), str(uuid.uuid4())
    if one.blocks is None:
        return
    try:
        tenant.post('reserve', one.user, lambda: volumes.reserve(id))
        info = tenant.post('initialize', one.user, lambda: volumes.initialize_connection(id, connector))
        tenant.post('os-attach', one.user, lambda: volumes.attach(id, server, '/dev/vdb'))
        flat = {**info['data'], 'driver_volume_type': info['driver_volume_type']}
        with tenant.systems.device(flat, connector) as device:
            place, value = tenant.draw.randrange(PLACES), next(tenant.values)
            one.blocks[place] = one.blocks.get(place, {0}) | {value}
            device.write(place * BLOCK, pattern(value))
            one.blocks[place] = {value}
            device.flush()
        tenant.post('begin detaching', one.user, lambda: volumes.begin_detaching(id))
        tenant.post('terminate', one.user, lambda: volumes.terminate_connection(id, connector))
        tenant.post('os-detach', one.user, lambda: volumes.detach(id))
    finally:
        tenant.detach(id, one)


#: Work -> its share.
WORKS: Sequence[tuple[Work, int]] = ((extend_attached, 2), (take_away, 1), (write_as_before, 2))
