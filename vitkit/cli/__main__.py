"""``python -m vitkit.cli``, the same as ``vitkit``."""

from vitkit.cli.main import main

raise SystemExit(main())
