"""What jsonargparse has to be told once, before any parser is made."""

import numbers
from typing import Any

from jsonargparse.typing import register_type


def _number(value: Any) -> int | float:
    return value if isinstance(value, int | float) else float(value)


# torchvision's transforms are annotated with it, and the parser would otherwise take it for a class to be made.
register_type(numbers.Number, lambda value: value, _number)
