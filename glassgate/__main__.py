"""`python -m glassgate` is the command `glassgate`."""

import sys

from glassgate.cli.main import main

sys.exit(main())
