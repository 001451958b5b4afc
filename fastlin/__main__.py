"""`python -m fastlin` is `fastlin`."""

import sys

from fastlin.cli import main

sys.exit(main())
