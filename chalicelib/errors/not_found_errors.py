"""Resources that do not exist (404)."""

from __future__ import annotations

from chalicelib.errors.base import CinderlessError


class NotFound(CinderlessError):
    code = 404
    template = 'The resource could not be found.'


class VolumeNotFound(NotFound):
    template = 'Volume {id} could not be found.'


class SnapshotNotFound(NotFound):
    template = 'Snapshot {id} could not be found.'


class BackupNotFound(NotFound):
    template = 'Backup {id} could not be found.'


class TransferNotFound(NotFound):
    template = 'Transfer {id} could not be found.'


class GroupNotFound(NotFound):
    template = 'Group {id} could not be found.'


class GroupSnapshotNotFound(NotFound):
    template = 'GroupSnapshot {id} could not be found.'


class GroupTypeNotFound(NotFound):
    template = 'Group type {id} could not be found.'


class GroupTypeNotFoundByName(GroupTypeNotFound):
    template = 'Group type with name {name} could not be found.'


class GroupTypeSpecsNotFound(NotFound):
    template = 'Group Type {id} has no specs with key {key}.'


class BackupScheduleNotFound(NotFound):
    template = 'Backup schedule {id} could not be found.'


class AttachmentNotFound(NotFound):
    template = 'Volume attachment could not be found with filter: attachment_id = {id}.'


class MessageNotFound(NotFound):
    template = 'Message {id} could not be found.'


class OperationNotFound(NotFound):
    template = 'Operation {id} could not be found.'


class VolumeTypeNotFound(NotFound):
    template = 'Volume type {id} could not be found.'


class VolumeTypeNotFoundByName(VolumeTypeNotFound):
    template = 'Volume type with name {name} could not be found.'


class VolumeTypeAccessNotFound(NotFound):
    template = 'Volume type access not found for {id} / {project_id} combination.'


class VolumeTypeExtraSpecsNotFound(NotFound):
    template = 'Volume Type {id} has no extra specs with key {key}.'


class VolumeMetadataNotFound(NotFound):
    template = 'Volume {id} has no metadata with key {key}.'


class SnapshotMetadataNotFound(NotFound):
    template = 'Snapshot {id} has no metadata with key {key}.'


class GlanceMetadataNotFound(NotFound):
    template = 'Glance metadata for volume/snapshot {id} cannot be found.'


class VolumeTypeEncryptionNotFound(NotFound):
    template = 'Volume type encryption for type {type_id} does not exist.'


class VolumeTypeProjectDefaultNotFound(NotFound):
    template = 'Default type for project {id} not found.'


class QoSSpecsNotFound(NotFound):
    template = 'No such QoS spec {id}.'


class QoSSpecsKeyNotFound(NotFound):
    template = 'QoS spec {id} has no spec with key {key}.'


class IdempotencyKeyNotFound(NotFound):
    template = 'The Idempotency-Key is not known.'


class SecretNotFound(NotFound):
    template = 'Key {id} could not be found.'


class ImageNotFound(NotFound):
    template = 'Image {id} could not be found.'


class ServiceNotFound(NotFound):
    template = 'Service {id} could not be found.'


class ServiceNotFoundOnHost(ServiceNotFound):
    template = 'Service {binary} could not be found on host {host}.'


class HostNotFound(NotFound):
    template = 'Host {id} could not be found.'


class ClusterNotFound(NotFound):
    template = 'Cluster {id} could not be found.'
