"""Offers of volumes to other projects."""

from __future__ import annotations

from pynamodb.attributes import BooleanAttribute, UnicodeAttribute

from chalicelib import errors
from chalicelib.models import base


class Transfer(base.Record):
    """A volume on offer, in the donor's partition. It exists as long as nobody has accepted or withdrawn it.

    Its id is taken as a Name too, owned by the donor: whoever accepts knows the id, and not the project.
    """

    Meta = base.meta('transfers')
    resource = 'transfer'
    not_found = errors.TransferNotFound
    secret = frozenset({'salt', 'crypt_hash'})

    by_created_at = base.ByCreatedAt()
    by_id = base.ById()

    user_id = UnicodeAttribute()
    volume_id = UnicodeAttribute()
    name = UnicodeAttribute(null=True)
    #: The volume's snapshots stay with the donor.
    no_snapshots = BooleanAttribute(default=False)
    #: What the auth key is checked with; the key itself is told once, and stored nowhere.
    salt = UnicodeAttribute()
    crypt_hash = UnicodeAttribute()
