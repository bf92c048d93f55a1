"""``python -m vitkit``, the same as ``vitkit``."""

from vitkit.cli.main import main

raise SystemExit(main())
