"""As a user's: shapes are not checked, which the tests of each room do."""

import pytest


@pytest.fixture(autouse=True)
def _unchecked(unchecked):
    pass
