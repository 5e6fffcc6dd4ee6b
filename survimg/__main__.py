"""``python -m survimg`` is the command ``survimg``."""

import sys

from survimg.cli import main

sys.exit(main())
