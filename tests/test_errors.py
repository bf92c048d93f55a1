import pickle

import pytest

from vitkit.errors import CheckpointError, DataError, UsageError, VitkitError, require_choice


@pytest.mark.parametrize(("kind", "code"), [(UsageError, 2), (DataError, 1), (CheckpointError, 1), (VitkitError, 1)])
def test_three_parts_in_one_line_and_across_processes(kind, code):
    error = kind("a.png is empty", "a picture", "Delete it.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error) == "a.png is empty; expected a picture. Delete it."
    assert again.exit_code == code


def test_a_choice_is_one_of_the_choices():
    require_choice("mode", "a", ("a", "b"))
    with pytest.raises(UsageError, match=r"^mode 'A'; expected one of a, b\. Correct mode\.$"):
        require_choice("mode", "A", ("a", "b"))
