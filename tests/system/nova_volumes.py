"""Run Nova's own volume client and os-brick, and print the results as JSON. Run by .venv-nova's Python.

The input is a user's token with its catalog, and where Nova's service user gets its own. Nova's code is used as its
compute service uses it: a RequestContext, the default ``catalog_info``, a service token beside the user's.
"""

from __future__ import annotations

import json
import platform
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import nova.conf
import os_brick
from nova import context as nova_context
from nova import exception
from nova.volume import cinder
from os_brick.initiator.connectors.iscsi import ISCSIConnector

INITIATOR = 'iqn.1993-08.org.debian:01:compute1'

#: Seconds for a volume or snapshot to be as expected.
PATIENCE = 120

Told = dict[str, Any]


class Story:
    """One user's calls, on volumes that the user creates."""

    def __init__(self, told: Told) -> None:
        self.api = cinder.API()
        self.context = nova_context.RequestContext(**told['context'])
        self.connector = connector()
        self.server = str(uuid.uuid4())

    def volume(self, **facts: Any) -> str:
        made = self.api.create(self.context, 1, 'root', 'of a server', **facts)
        return self.until(made['id'], 'available')

    def until(self, id: str, status: str) -> str:
        """The id, once the volume has the status."""
        deadline = time.monotonic() + PATIENCE
        while (found := self.status(id)) != status:
            assert time.monotonic() < deadline, f'{id} is {found}'
            assert not found.startswith('error'), f'{id} is {found}'
            time.sleep(0.1)
        return id

    def status(self, id: str) -> str:
        return str(self.api.get(self.context, id)['status'])

    def gone(self, read: Callable[..., Any], id: str) -> str:
        """Wait until the object does not exist; return the name of the error."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                read(self.context, id)
            except exception.NovaException as error:
                return type(error).__name__
            time.sleep(0.1)
        return 'still there'


def refused(call: Callable[..., Any], *given: Any) -> str:
    """The name of Nova's exception."""
    try:
        call(*given)
    except exception.NovaException as error:
        return type(error).__name__
    return 'not refused'


def attaches(story: Story) -> Told:
    """As Nova attaches since Queens: reserve, hand over the connector, complete; then away."""
    api, context = story.api, story.context
    volume = story.volume()
    reserved = api.attachment_create(context, volume, story.server)
    statuses = [story.status(volume)]
    updated = api.attachment_update(context, reserved['id'], story.connector, mountpoint='/dev/vdb')
    data = updated['connection_info']['data']
    statuses.append(story.status(volume))
    again = api.attachment_update(context, reserved['id'], story.connector, mountpoint='/dev/vdb')
    api.attachment_complete(context, reserved['id'])
    seen = api.get(context, volume, microversion='3.48')
    statuses.append(seen['status'])
    listed = api.attachment_get_all(context, instance_id=story.server)
    shown = api.attachment_get(context, reserved['id'])
    refusals = {'while attached': refused(api.reserve_volume, context, volume)}
    api.begin_detaching(context, volume)
    statuses.append(story.status(volume))
    api.roll_detaching(context, volume)
    statuses.append(story.status(volume))
    api.attachment_delete(context, reserved['id'])
    statuses.append(story.status(volume))
    refusals['of what is gone'] = refused(api.attachment_get, context, reserved['id'])
    api.delete(context, volume)
    return {
        'statuses': statuses,
        'volume': {**seen, 'attachments': dict(seen['attachments'])},
        'server': story.server,
        'reserved': reserved,
        'data': data,
        'same again': [each['connection_info']['data'] == data for each in (again, shown)],
        'listed': [each['id'] for each in listed] == [reserved['id']],
        'brick': understood(data),
        'refusals': refusals,
        'gone': story.gone(api.get, volume),
    }


def attached_before(story: Story) -> Told:
    """As Nova attached before, and still does where a server is from then."""
    api, context = story.api, story.context
    volume = story.volume()
    api.reserve_volume(context, volume)
    api.unreserve_volume(context, volume)
    api.reserve_volume(context, volume)
    info = api.initialize_connection(context, volume, story.connector)
    api.attach(context, volume, story.server, '/dev/vdc')
    attached = story.status(volume)
    api.begin_detaching(context, volume)
    api.terminate_connection(context, volume, story.connector)
    api.detach(context, volume, story.server)
    detached = story.status(volume)
    told = {'statuses': [attached, detached], 'brick': understood(info['data'])}
    api.delete(context, volume)
    return told


class Host:
    """A compute host without root: it notes the commands that os-brick would run, and answers as open-iscsi does."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self._sessions = ''

    def execute(self, *words: str, **_: Any) -> tuple[str, str]:
        self.commands.append(list(words))
        if '--login' in words:
            portal, iqn = words[words.index('-p') + 1], words[words.index('-T') + 1]
            self._sessions = f'tcp: [1] {portal},1 {iqn} (non-flash)\n'
        if 'session' in words:
            return self._sessions, ''
        return (f'InitiatorName={INITIATOR}\n', '') if words[0] == 'cat' else ('', '')


def connector() -> Told:
    """Return what os-brick reports of the host."""
    found = ISCSIConnector.get_connector_properties('', execute=Host().execute, multipath=False)
    usual = {'platform': platform.machine(), 'os_type': sys.platform, 'ip': '127.0.0.1', 'host': 'compute-1'}
    return {**usual, 'multipath': False, **found}


def understood(properties: Told) -> Told:
    """Return os-brick's use of a connection: targets, settings and logins."""
    host = Host()
    initiator = ISCSIConnector('', execute=host.execute)
    targets = list(initiator._iterate_all_targets(properties))
    for target in targets:
        initiator._connect_to_iscsi_portal(target)
    settings = {words[words.index('-n') + 1]: words[words.index('-v') + 1] for words in host.commands
                if '-n' in words and '-v' in words}  # fmt: skip
    return {
        'targets': [[target[name] for name in ('target_portal', 'target_iqn', 'target_lun')] for target in targets],
        'settings': settings,
        'logins': sum('--login' in words for words in host.commands),
    }


def snapshots(story: Story) -> Told:
    """A server's image of a volume, a volume from it, and what belongs to neither."""
    api, context = story.api, story.context
    volume = story.volume()
    made = api.create_snapshot_force(context, volume, 'image of a server', '')
    deadline = time.monotonic() + PATIENCE
    while (seen := api.get_snapshot(context, made['id']))['status'] != 'available' and time.monotonic() < deadline:
        time.sleep(0.1)
    copy = api.get(context, story.volume(snapshot=made))
    listed = [each['id'] for each in api.get_all_snapshots(context)]
    refusals = {'in use': refused(api.delete, context, volume)}
    api.delete(context, copy['id'])
    story.gone(api.get, copy['id'])
    api.delete_snapshot(context, made['id'])
    gone = story.gone(api.get_snapshot, made['id'])
    api.delete(context, volume)
    return {
        'snapshot': seen,
        'volume': volume,
        'copy of': copy['snapshot_id'] == made['id'],
        'listed': made['id'] in listed,
        'refusals': refusals,
        'gone': gone,
    }


def encrypted(story: Story, kind: str) -> Told:
    """Return what a compute host receives about an encrypted and an unencrypted volume."""
    api, context = story.api, story.context
    volume, plain = story.volume(volume_type=kind), story.volume()
    told = {
        'encrypted': api.get_volume_encryption_metadata(context, volume),
        'plain': api.get_volume_encryption_metadata(context, plain),
        'types': kind in [each['name'] for each in api.get_all_volume_types(context)],
    }
    for id in volume, plain:
        api.delete(context, id)
        story.gone(api.get, id)
    return told


def versions(story: Story) -> Told:
    """The microversions that Nova looks for, and one that is not there yet."""
    wanted = ('3.44', '3.48', '3.68', '3.71')
    return {
        **{version: refused(cinder.is_microversion_supported, story.context, version) for version in wanted},
        '3.99': refused(cinder.is_microversion_supported, story.context, '3.99'),
    }


def trouble(story: Story) -> Told:
    """Which of Nova's exceptions the answers of the API become."""
    api, context, nothing = story.api, story.context, str(uuid.uuid4())
    volume = story.volume()
    too_much = refused(api.create, context, 10**6, 'huge', '')
    told = {
        'get': refused(api.get, context, nothing),
        'get_snapshot': refused(api.get_snapshot, context, nothing),
        'reserve': refused(api.reserve_volume, context, nothing),
        'attachment_get': refused(api.attachment_get, context, nothing),
        'attachment_create': refused(api.attachment_create, context, nothing, story.server),
        'begin_detaching': refused(api.begin_detaching, context, volume),
        'quota': too_much,
        'limits': sorted(api.get_absolute_limits(context)),
    }
    api.delete(context, volume)
    return told


def main() -> None:
    told = json.load(sys.stdin)
    nova.conf.CONF([], project='nova', default_config_files=[told['nova_conf']])
    os_brick.setup(nova.conf.CONF)
    story = Story(told)
    print(
        json.dumps(
            {
                'connector': story.connector,
                'attaches': attaches(story),
                'attached before': attached_before(story),
                'snapshots': snapshots(story),
                'encrypted': encrypted(story, told['encrypted_type']),
                'versions': versions(story),
                'trouble': trouble(story),
            }
        )
    )


if __name__ == '__main__':
    main()
