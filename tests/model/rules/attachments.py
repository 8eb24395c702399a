"""Attachments: the attachments API, and the actions by which Nova attached before it."""

from __future__ import annotations

import uuid
from typing import Any

from hypothesis import strategies as st

from tests.model.reference.records import Codes
from tests.model.side import PICK, Request, Sides, action, has, made, precondition, rule

#: Servers and hosts of a project that attach.
SERVERS, HOSTS = st.integers(0, 2), st.integers(0, 1)


def connector(project: str, host: int) -> dict[str, str]:
    """A host of the project: no two projects may use one initiator."""
    name = f'host-{project}-{host}'
    return {'initiator': f'iqn.1993-08.org.debian:01:{name}', 'host': name, 'ip': '192.0.2.1'}


def server_id(project: str, server: int) -> str:
    return str(uuid.UUID(int=(ord(project) << 8) + server))


class AttachmentRules(Sides):
    @has('volumes')
    @rule(at=PICK, server=SERVERS, host=HOSTS, connected=st.booleans())
    def create_attachment(self, at: int, server: int, host: int, connected: bool) -> None:
        if volume := self.pick(self.model.volumes, at):
            of, facts = server_id(volume.project, server), connector(volume.project, host)
            name = 'attach in one step' if connected else 'reserve'

            def predict(body: Any) -> Codes:
                return made(
                    self.model.create_attachment(volume, of, facts['host'] if connected else None), body, 'attachment'
                )

            wanted = {'volume_uuid': volume.id, 'instance_uuid': of, 'connector': facts if connected else None}
            makes = ('attachments', 'attachment')
            self.play(Request(name, volume.project, 'POST', '/attachments', predict, {'attachment': wanted}, makes))

    @precondition(lambda self: self.attachment(0))
    @rule(at=PICK, host=HOSTS)
    def connect_attachment(self, at: int, host: int) -> None:
        found = self.attachment(at)
        if found and found[1].status != 'attached':
            facts = connector(found[0].project, host)
            predict = lambda _: self.model.connect_attachment(*found, facts['host'])  # noqa: E731
            path, body = f'/attachments/{found[1].id}', {'attachment': {'connector': facts}}
            self.play(Request('connect attachment', found[0].project, 'PUT', path, predict, body))

    @precondition(lambda self: self.attachment(0))
    @rule(at=PICK)
    def complete_attachment(self, at: int) -> None:
        found = self.attachment(at)
        if found and found[1].connected:
            predict = lambda _: self.model.complete_attachment(*found)  # noqa: E731
            path = f'/attachments/{found[1].id}'
            self.play(action('complete attachment', found[0].project, path, 'os-complete', {}, predict))

    @precondition(lambda self: self.attachment(0) or self.model.orphans)
    @rule(at=PICK)
    def delete_attachment(self, at: int) -> None:
        """One whose volume was removed, too."""
        if found := self.pick([*self.attachments(), *((one, held) for held, one in self.model.orphans.values())], at):
            predict = lambda _: self.model.delete_attachment(*found)  # noqa: E731
            self.play(Request('detach', found[0].project, 'DELETE', f'/attachments/{found[1].id}', predict))

    # As Nova did it before the attachments API

    @has('volumes')
    @rule(weight=1, at=PICK, name=st.sampled_from(['reserve', 'unreserve', 'begin_detaching', 'roll_detaching']))
    def ask_for_a_status(self, at: int, name: str) -> None:
        if volume := self.pick(self.model.volumes, at):
            self.act(volume, f'os-{name}', f'os-{name}', None, lambda _: getattr(self.model, name)(volume))

    @has('volumes')
    @rule(weight=1, at=PICK, host=HOSTS)
    def initialize_connection(self, at: int, host: int) -> None:
        if volume := self.pick(self.model.volumes, at):
            name, facts = 'os-initialize_connection', {'connector': connector(volume.project, host)}
            self.act(volume, name, name, facts, lambda _: self.model.initialize_connection(volume))

    @has('volumes')
    @rule(weight=1, at=PICK, host=HOSTS, all_of_them=st.booleans())
    def terminate_connection(self, at: int, host: int, all_of_them: bool) -> None:
        if volume := self.pick(self.model.volumes, at):
            facts = {'connector': None if all_of_them else connector(volume.project, host)}
            name = 'os-terminate_connection'
            self.act(volume, name, name, facts, lambda _: self.model.unreserve(volume))

    @has('volumes')
    @rule(at=PICK, server=SERVERS)
    def attach(self, at: int, server: int) -> None:
        volume = self.pick(self.model.volumes, at)
        if volume and self.fault is None:
            known, of = set(volume.attachments), server_id(volume.project, server)

            def predict(body: Any) -> Codes:
                allowed, accept = self.model.attach(volume, of)
                for id in self.service.attachments_of(volume.project, volume.id) - known:
                    accept(id)
                return allowed

            facts = {'instance_uuid': of, 'mountpoint': '/dev/vdc', 'mode': 'rw'}
            self.act(volume, 'os-attach', 'os-attach', facts, predict)

    @precondition(lambda self: self.attachment(0))
    @rule(at=PICK)
    def detach(self, at: int) -> None:
        if found := self.attachment(at):
            facts = {'attachment_id': found[1].id}
            self.act(found[0], 'os-detach', 'os-detach', facts, lambda _: self.model.detach(*found))
