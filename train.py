"""``python train.py fit --config ...``, the same as ``vitkit fit --config ...``."""

from vitkit.cli.main import main

raise SystemExit(main())
