import logging
import warnings

import pytest

from vitkit.cli.quiet import quiet


def test_lightnings_advice_is_silent_and_other_warnings_are_not():
    with quiet():
        warnings.warn("The 'train_dataloader' does not have many workers which may be a bottleneck.", stacklevel=1)
        with pytest.warns(UserWarning, match="something else"):
            warnings.warn("something else", stacklevel=1)
    with pytest.warns(UserWarning, match="many workers"):
        warnings.warn("The 'train_dataloader' does not have many workers which may be a bottleneck.", stacklevel=1)


def test_vitkits_own_log_is_a_remark_and_levels_are_put_back(capsys):
    lightning, own = logging.getLogger("lightning.pytorch"), logging.getLogger("vitkit")
    before = lightning.level, own.level, list(own.handlers)
    with quiet():
        logging.getLogger("vitkit.tasks").info("%d of 3 tensors", 2)
        assert not lightning.isEnabledFor(logging.INFO)
        assert lightning.isEnabledFor(logging.WARNING)
    assert capsys.readouterr().err == "vitkit: 2 of 3 tensors\n"
    assert (lightning.level, own.level, list(own.handlers)) == before
