"""``python eval.py MODEL ...``, the same as ``vitkit evaluate MODEL ...``."""

import sys

from vitkit.cli.main import main

raise SystemExit(main(["evaluate", *sys.argv[1:]]))
