"""Tags: of a request that creates an object, and of existing objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from local.ebs.cloud import Cloud, Refused, Snapshot, Tags, Volume
from local.ebs.rules import MAX_TAGS


def of_request(cloud: Cloud, parameters: Mapping[str, Any], resource: str) -> Tags:
    """Return the tags in a request. Raises Refused for those of another type of resource."""
    found: dict[str, str] = {}
    for specification in parameters.get('TagSpecifications', []):
        if specification.get('ResourceType') != resource:
            kind = specification.get('ResourceType')
            raise Refused(
                'InvalidParameterValue', f"'{kind}' is not a valid taggable resource type for this operation."
            )
        found |= _checked(specification.get('Tags', []))
    return Tags(found)


def _checked(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    found = {tag['Key']: tag.get('Value', '') for tag in tags}
    if len(found) > MAX_TAGS:
        raise Refused('TagLimitExceeded', f'The maximum number of Tags is {MAX_TAGS}.')
    for key, value in found.items():
        if not 0 < len(key) <= 128 or len(value) > 256 or key.lower().startswith('aws:'):
            raise Refused('InvalidParameterValue', f"Tag '{key}' is reserved, or its key or value is too long.")
    return found


def create(cloud: Cloud, parameters: Mapping[str, Any]) -> dict[str, Any]:
    added = _checked(parameters['Tags'])
    for one in _resources(cloud, parameters):
        tags = one.tags.now | added
        if len(tags) > MAX_TAGS:
            raise Refused('TagLimitExceeded', f'The maximum number of Tags for a resource is {MAX_TAGS}.')
        one.tags.change(tags, cloud.now(), cloud.now() + cloud.timing.visible)
    return {}


def delete(cloud: Cloud, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Delete tags; one that is named with a value only if it has that value."""
    gone = {tag['Key']: tag.get('Value') for tag in parameters.get('Tags', [])}
    for one in _resources(cloud, parameters):
        kept = {key: value for key, value in one.tags.now.items() if not _goes(gone, key, value)}
        one.tags.change(kept if gone else {}, cloud.now(), cloud.now() + cloud.timing.visible)
    return {}


def describe(cloud: Cloud, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tags of instances. An instance that does not exist has none and raises no error."""
    wanted = {one['Name']: one['Values'] for one in parameters['Filters']}
    found = []
    for id in wanted['resource-id']:
        instance = cloud.instances(id)
        for key, value in (instance.tags if instance else {}).items():
            if key in wanted.get('key', [key]):
                found.append({'ResourceId': id, 'ResourceType': 'instance', 'Key': key, 'Value': value})
    return {'Tags': found}


def _goes(gone: Mapping[str, str | None], key: str, value: str) -> bool:
    return key in gone and gone[key] in (None, value)


def _resources(cloud: Cloud, parameters: Mapping[str, Any]) -> list[Volume | Snapshot]:
    return [cloud.volume(id) if id.startswith('vol-') else cloud.snapshot(id) for id in parameters['Resources']]


def shown(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{'Key': key, 'Value': value} for key, value in tags.items()]
