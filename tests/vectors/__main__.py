"""``python -m tests.vectors``: run the scheduler's vectors."""

import sys

from tests.vectors.scheduler import main

sys.exit(main())
