"""`python -m harness`, for launchers that start modules: `accelerate launch -m harness eval ...`."""

import sys

from harness.cli import main

sys.exit(main())
