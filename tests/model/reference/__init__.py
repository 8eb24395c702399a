"""The block storage service as it must look to its clients, in memory: no AWS, no concurrency, no code of the service.

Every request is a method. It returns the statuses that an answer may have, and changes the reference as an accepted
request changes the service. Work that the service does later is a ``Job``; ``settle`` ends all jobs, in the order in
which they were accepted. Bytes are numbers: ``content`` maps a place on the disk to the last number written there.

Sources: Cinder's API reference, and the status matrices measured on Cinder 29 (``chalicelib/rules/states.py`` repeats
them, and is not read here on purpose). Each kind of resource has a module of its own.
"""

from tests.model.reference.administration import Administration
from tests.model.reference.attachments import Attaching
from tests.model.reference.backups import Backups
from tests.model.reference.groups import Grouping
from tests.model.reference.images import Images
from tests.model.reference.imports import Imports
from tests.model.reference.management import Managing
from tests.model.reference.transfers import Transfers
from tests.model.reference.types import Types


class Reference(Administration, Attaching, Backups, Grouping, Images, Imports, Managing, Transfers, Types):
    """The whole service."""
