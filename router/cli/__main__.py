"""`python -m router.cli`."""

import sys

from router.cli.program import main

sys.exit(main())
