"""Generic volume groups and their snapshots."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.model.reference.records import Codes, Group, GroupSnapshot
from tests.model.service import GROUP_TYPE
from tests.model.side import PICK, PROJECTS, SIZES, TYPES, Request, Sides, action, has, made, rule


class GroupRules(Sides):
    @rule(project=PROJECTS, types=st.sets(TYPES, min_size=1, max_size=3))
    def create_group(self, project: str, types: set[str]) -> None:
        predict = lambda body: made(self.model.create_group(project, types), body, 'group')  # noqa: E731
        body = {'group': {'group_type': GROUP_TYPE, 'volume_types': sorted(types)}}
        self.play(Request('create group', project, 'POST', '/groups', predict, body, ('groups', 'group')))

    @has('groups')
    @rule(weight=3, at=PICK, size=SIZES, kind=TYPES)
    def create_volume_in_group(self, at: int, size: int, kind: str) -> None:
        if group := self.pick(self.model.groups, at):

            def predict(body: Any) -> Codes:
                return made(self.model.create_volume(group.project, size, kind, None, group), body, 'volume')

            body = {'volume': {'size': size, 'volume_type': kind, 'group_id': group.id}}
            makes = ('volumes', 'volume')
            self.play(Request('create volume in group', group.project, 'POST', '/volumes', predict, body, makes))

    @has('groups')
    @rule(weight=1, at=PICK, name=st.sampled_from('xyz'))
    def rename_group(self, at: int, name: str) -> None:
        if group := self.pick(self.model.groups, at):
            self._update(group, 'rename group', {'name': name}, lambda _: self.model.rename_group(group, name))

    def _update(self, group: Group, name: str, facts: Any, predict: Any) -> None:
        self.play(Request(name, group.project, 'PUT', f'/groups/{group.id}', predict, {'group': facts}))

    @has('groups', 'volumes')
    @rule(weight=3, at=PICK, which=PICK)
    def join_group(self, at: int, which: int) -> None:
        group, volume = self.pick(self.model.groups, at), self.pick(self.model.volumes, which)
        if group and volume:
            members = self.model.members(group)
            theirs = next(filter(None, (self.service.backend_of(one.id) for one in members)), None)
            same = self.service.backend_of(volume.id) == theirs if theirs else None

            def predict(body: Any) -> Codes:
                allowed = self.model.join_group(group, volume, same)
                if 202 in allowed and self.service.group_of(volume.project, volume.id) == group.id:
                    volume.group = group.id
                return allowed

            self._update(group, 'join group', {'add_volumes': volume.id}, predict)

    @has('groups', 'volumes')
    @rule(at=PICK, which=PICK)
    def leave_group(self, at: int, which: int) -> None:
        self.wait()
        volume = self.pick([one for one in self.model.volumes.values() if one.group], which)
        group = self.model.groups.get(volume.group or '') if volume else None
        if group and volume:

            def predict(body: Any) -> Codes:
                allowed = self.model.leave_group(group, volume)
                volume.group = None if 202 in allowed else volume.group
                return allowed

            self._update(group, 'leave group', {'remove_volumes': volume.id}, predict)

    @has('groups')
    @rule(weight=2, at=PICK, with_volumes=st.sampled_from([True, True, False]))
    def delete_group(self, at: int, with_volumes: bool) -> None:
        if group := self.pick(self.model.groups, at):
            predict = lambda _: self.model.delete_group(group, with_volumes)  # noqa: E731
            name = f'delete group{" with volumes" if with_volumes else ""}'
            facts = {'delete-volumes': with_volumes}
            self.play(action(name, group.project, f'/groups/{group.id}', 'delete', facts, predict))

    @has('groups')
    @rule(weight=3, at=PICK)
    def create_group_snapshot(self, at: int) -> None:
        if group := self._filled(at):

            def predict(body: Any) -> Codes:
                allowed = made(self.model.create_group_snapshot(group), body, 'group_snapshot')
                if body:
                    taken = self.model.group_snapshots[body['group_snapshot']['id']]
                    self.model.take_parts(taken, self.service.snapshots_in(group.project, taken.id))
                return allowed

            body, makes = {'group_snapshot': {'group_id': group.id}}, ('group_snapshots', 'group_snapshot')
            name = 'create group snapshot'
            self.play(Request(name, group.project, 'POST', '/group_snapshots', predict, body, makes))

    @has('group_snapshots')
    @rule(at=PICK)
    def delete_group_snapshot(self, at: int) -> None:
        if taken := self.pick(self.model.group_snapshots, at):
            predict = lambda _: self.model.delete_group_snapshot(taken)  # noqa: E731
            path = f'/group_snapshots/{taken.id}'
            self.play(Request('delete group snapshot', taken.project, 'DELETE', path, predict))

    @has('groups')
    @rule(at=PICK)
    def copy_group(self, at: int) -> None:
        if group := self._filled(at):
            self._copy(group, 'source_group_id')

    @has('group_snapshots')
    @rule(weight=5, at=PICK)
    def copy_group_snapshot(self, at: int) -> None:
        if taken := self.pick(self.model.group_snapshots, at):
            self._copy(taken, 'group_snapshot_id')

    def _filled(self, at: int) -> Group | None:
        """A group, one with volumes if there is any."""
        self.wait()
        groups = list(self.model.groups.values())
        return self.pick([one for one in groups if self.model.members(one)] or groups, at)

    def _copy(self, source: Group | GroupSnapshot, key: str) -> None:
        def predict(body: Any) -> Codes:
            allowed = made(self.model.copy_group(source.project, source), body, 'group')
            if body:
                group = self.model.groups[body['group']['id']]
                self.model.copy_parts(group, source, self.service.volumes_in(group.project, group.id))
            return allowed

        body, makes = {'create-from-src': {key: source.id}}, ('groups', 'group')
        name = f'create group from {key.removesuffix("_id")}'
        self.play(Request(name, source.project, 'POST', '/groups/action', predict, body, makes))
