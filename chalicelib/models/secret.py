"""Keys of encrypted volumes, as the built-in key manager stores them."""

from __future__ import annotations

from pynamodb.attributes import NumberAttribute, UnicodeAttribute

from chalicelib import errors
from chalicelib.models import base


class Secret(base.Record):
    """One symmetric key, in its project's partition, always encrypted: KMS opens ``sealed`` for this secret only."""

    Meta = base.meta('secrets')
    resource = 'secret'
    not_found = errors.SecretNotFound
    secret = frozenset({'sealed'})

    by_id = base.ById()

    user_id = UnicodeAttribute()
    name = UnicodeAttribute(null=True)
    #: Barbican's name: aes, twofish, ...
    algorithm = UnicodeAttribute()
    bit_length = NumberAttribute()
    sealed = UnicodeAttribute()
