"""EBS on this machine, as strict as AWS: volumes, snapshots, attachments and the direct APIs, with real bytes.

moto accepts what AWS refuses (any size, a second attachment, a volume in another zone), ignores tokens, is in every
final state at once and holds no data. ``Ebs`` answers these calls in moto's place, in the local cloud and in tests:

* refuses what AWS refuses, under AWS's own error codes;
* takes its time: creating, pending, modifying, optimizing, attaching, detaching, deleting;
* describes late (eventual consistency), throttles and fails as configured by a test;
* keeps bytes in a sparse file: a snapshot shares its volume's blocks until one of them is written.
"""

from local.ebs.cloud import Timing
from local.ebs.double import Ebs

__all__ = ['Ebs', 'Timing']
