"""What is alive is what is counted."""

import torch

from vitkit.planning import Ledger


def test_storages_count_once_from_their_first_operation_to_their_last_reference():
    with Ledger() as ledger:
        x = torch.zeros(1000)
        view, turned = x[10:], x.view(10, 100).t()
        assert ledger.live == 4000
        del x
        assert ledger.live == 4000
        copy = turned.contiguous()
        assert ledger.live == 8000
        del view, turned
        assert ledger.live == copy.nbytes == 4000
    assert ledger.peak == 8000


def test_what_was_there_before_is_not_counted():
    weight = torch.zeros(100, 100)
    with Ledger() as ledger:
        turned = weight.t()
        weight.add_(1)
        assert ledger.live == ledger.peak == 0
        assert turned.data_ptr() == weight.data_ptr()


def test_a_graph_is_held_until_it_is_gone():
    weight = torch.ones(100, requires_grad=True)
    with Ledger() as ledger:
        out = (weight * 2).exp().sum()
        assert ledger.live == 400 + 4  # what exp returns, which its gradient needs, and the sum
        out.backward()
        del out
        assert ledger.live == 400  # the gradient
        weight.grad = None
        assert ledger.live == 0


def test_the_peak_begins_anew():
    with Ledger() as ledger:
        torch.zeros(1000)
        assert (ledger.live, ledger.peak) == (0, 4000)
        ledger.start()
        torch.zeros(10)
    assert ledger.peak == 40


def test_products_are_counted_by_kind_and_the_rest_by_bytes():
    with Ledger() as ledger:
        a, b = torch.zeros(3, 4), torch.zeros(4, 5)
        moved = ledger.traffic
        ledger.kinds.append("mine")
        c = a @ b
        assert ledger.flops == {"mine": 2 * 3 * 4 * 5}
        assert ledger.traffic == moved
        c.addmm_(a, b)
        assert ledger.flops == {"mine": 2 * 2 * 3 * 4 * 5}
        c + 1
        assert ledger.traffic == moved + 2 * c.nbytes
        c.view(-1)
        assert ledger.traffic == moved + 2 * c.nbytes
