"""Lightning without its chatter: its advice is silenced line by line, so that any other warning is still seen."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from vitkit.cli.say import remark

# Each starts a message that a normal run of vitkit provokes, by Lightning or by what Lightning calls.
_ADVICE = (
    r"The '\w+' does not have many workers",
    r"The number of training batches \(\d+\) is smaller than the logging interval",
    r"Checkpoint directory .* exists and is not empty",
    r"\s*By default only one JsonargparseDeprecationWarning",
    r"\s*``instantiate_classes`` was deprecated",
    r"\s*skip_none parameter was deprecated",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


class _Remarks(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        remark(record.getMessage())


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's advice and information; let vitkit's own log speak on standard error."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    own, handler = logging.getLogger("vitkit"), _Remarks()
    levels = [(logger, logger.level) for logger in (*loggers, own)]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    own.setLevel(logging.INFO)
    own.addHandler(handler)
    try:
        with warnings.catch_warnings():
            for message in _ADVICE:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        own.removeHandler(handler)
        for logger, level in levels:
            logger.setLevel(level)
