"""Extra specs of a volume type that the API itself obeys; the scheduler matches the rest with what pools report."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib import errors

#: The exact text that makes a type's volumes attachable by several hosts.
TRUE = '<is> True'

ZONES = 'RESKEY:availability_zones'
MIN_SIZE = 'provisioning:min_vol_size'
MAX_SIZE = 'provisioning:max_vol_size'

#: The specs that all users of a type may read (Cinder's policies/type_extra_specs.py).
USER_VISIBLE = ('RESKEY:availability_zones', 'multiattach', 'replication_enabled')


def is_multiattach(extra_specs: Mapping[str, str]) -> bool:
    return extra_specs.get('multiattach') == TRUE


def availability_zones(extra_specs: Mapping[str, str]) -> list[str] | None:
    """The zones that a type is limited to, or None for any."""
    text = extra_specs.get(ZONES)
    if not text:
        return None
    return [zone.strip() for zone in text.split(',') if zone.strip()]


def check_size(extra_specs: Mapping[str, str], type_name: str, size: int) -> None:
    """Raise InvalidInput for a size (GiB) outside the type's limits (Cinder's provision_filter_on_size)."""
    smallest, largest = extra_specs.get(MIN_SIZE), extra_specs.get(MAX_SIZE)
    if smallest and size < int(smallest):
        raise errors.InvalidInput(
            reason=f"Specified volume size of '{size}' is less than the minimum required size of '{smallest}' "
            f"for volume type '{type_name}'."
        )
    if largest and size > int(largest):
        raise errors.InvalidInput(
            reason=f"Specified volume size of '{size}' is greater than the maximum allowable size of '{largest}' "
            f"for volume type '{type_name}'."
        )


def check_cacheable(extra_specs: Mapping[str, str]) -> None:
    """Raise Invalid for a type that is both cacheable and multiattach: a host's cache would not see other writers."""
    if extra_specs.get('cacheable') == TRUE and is_multiattach(extra_specs):
        raise errors.Invalid('cacheable cannot be set with multiattach.')
