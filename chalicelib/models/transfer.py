"""Offers of volumes to other projects."""

from __future__ import annotations

from pynamodb.attributes import BooleanAttribute, UnicodeAttribute

from chalicelib import errors
from chalicelib.models import base


class Transfer(base.Record):
    """An offered volume, in the donor's partition. It exists until it is accepted or withdrawn.

    Its id is also a Name, owned by the donor: the accepting user has the id, but not the project.
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
    #: Data for checking the auth key; the key itself is returned once and never stored.
    salt = UnicodeAttribute()
    crypt_hash = UnicodeAttribute()
