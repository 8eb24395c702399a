"""Volume types: QoS specs and encryption change under volumes that come and go."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.model.reference.records import Codes
from tests.model.side import PICK, TYPES, Request, Sides, has, made, precondition, rule

LUKS = {'provider': 'luks', 'cipher': 'aes-xts-plain64', 'key_size': 256, 'control_location': 'front-end'}


class TypeRules(Sides):
    def _administer(self, name: str, method: str, path: str, predict: Any, body: Any = None) -> None:
        self.play(Request(name, 'administration', method, path, predict, body, admin=True))

    @rule(weight=3)
    def encrypt(self) -> None:
        """Of the type that is plain at first; refused while volumes have it."""
        path = f'/types/{self.service.type_ids["sealed"]}/encryption'
        self._administer('encrypt type', 'POST', path, lambda _: self.model.encrypt('sealed'), {'encryption': LUKS})

    @precondition(lambda self: self.model.kinds['sealed'].encrypted)
    @rule(weight=1)
    def decrypt(self) -> None:
        path = f'/types/{self.service.type_ids["sealed"]}/encryption/any'
        self._administer('decrypt type', 'DELETE', path, lambda _: self.model.decrypt('sealed'))

    @precondition(lambda self: self.fault is None)
    @rule(weight=1, name=st.sampled_from('xyz'))
    def create_qos(self, name: str) -> None:
        def predict(body: Any) -> Codes:
            return made(self.model.create_qos(name), body, 'qos_specs')

        body = {'qos_specs': {'name': name, 'consumer': 'back-end', 'read_iops_sec': '10'}}
        self._administer('create qos', 'POST', '/qos-specs', predict, body)

    @has('qos')
    @rule(weight=2, at=PICK, kind=TYPES)
    def associate(self, at: int, kind: str) -> None:
        self._associate(at, kind, 'associate', self.model.associate)

    @has('qos')
    @rule(weight=1, at=PICK, kind=TYPES)
    def disassociate(self, at: int, kind: str) -> None:
        self._associate(at, kind, 'disassociate', self.model.disassociate)

    def _associate(self, at: int, kind: str, verb: str, predict: Any) -> None:
        if id := self.pick(list(self.model.qos), at):
            path = f'/qos-specs/{id}/{verb}?vol_type_id={self.service.type_ids[kind]}'
            self._administer(f'{verb} qos', 'GET', path, lambda _: predict(id, kind))

    @has('qos')
    @rule(weight=1, at=PICK)
    def disassociate_all(self, at: int) -> None:
        if id := self.pick(list(self.model.qos), at):
            path = f'/qos-specs/{id}/disassociate_all'
            self._administer('disassociate all', 'GET', path, lambda _: self.model.disassociate_all(id))

    @has('qos')
    @rule(weight=1, at=PICK, force=st.booleans())
    def delete_qos(self, at: int, force: bool) -> None:
        if id := self.pick(list(self.model.qos), at):
            predict = lambda _: self.model.delete_qos(id, force)  # noqa: E731
            self._administer('delete qos', 'DELETE', f'/qos-specs/{id}?force={force}', predict)
