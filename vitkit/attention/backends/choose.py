"""The rule that chooses a backend, which can be asked."""

from vitkit.attention.backends.axial import AxialViews
from vitkit.attention.backends.backend import Backend
from vitkit.attention.backends.chunked import Chunked
from vitkit.attention.backends.eager import Eager
from vitkit.attention.backends.features import Features
from vitkit.attention.backends.flex import Flex
from vitkit.attention.backends.fused import Fused
from vitkit.attention.backends.gathered import Gathered
from vitkit.attention.backends.streamed import Streamed
from vitkit.attention.backends.summed import Summed
from vitkit.attention.case import Case
from vitkit.errors import UsageError
from vitkit.exporting import is_exporting

SHORT = 200
"""Tokens below which plain products beat the streamed backward pass and chunks on the CPU."""
LONG = 512
"""Tokens from which, without gradients on the CPU, tiles beat a mask of every pair; on CUDA, from which none is made."""
SMALL = 2**25
"""Bytes of temporary memory up to which plain products beat chunks."""


def _best(case: Case) -> Backend:
    return BACKENDS[choose(case)[0]]


BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (AxialViews(), Summed(_best), Fused(), Streamed(), Features(), Gathered(), Chunked(), Eager(), Flex())
}
"""By name, in the order in which they are tried."""


def choose(case: Case, backend: str = "auto") -> tuple[str, str]:
    """Name of the backend for a case, and why it is that: the one that is asked for, or the first that this rule prefers.

    1. Views along the axes for an axial pattern; its terms one by one where that does not serve.
    2. Gathered blocks, for a sparse pattern of many tokens on the CPU; on CUDA FlexAttention, and so for a stationary bias that
       learns.
    3. Plain products, where a fused kernel does not serve and there are few tokens, or little memory is needed.
    4. The streamed kernel or features instead of a mask of every pair, where nothing is differentiated and tokens are many.
    5. Whatever serves first: fused, streamed, features, gathered, chunked, eager; FlexAttention last, so only by name.

    Raises:
        UsageError: No such backend, or the one that is asked for cannot serve; the message says why, and which can.
    """
    refusals = refusals_of(case)
    able = [name for name in BACKENDS if name not in refusals]
    if backend == "auto":
        return _rule(case, able)
    if backend not in BACKENDS:
        raise UsageError(f"backend={backend!r}", f'"auto" or one of {", ".join(BACKENDS)}', "Correct backend.")
    if backend in refusals:
        raise UsageError(
            f"backend={backend!r}, but {refusals[backend]}", f"one that serves: {', '.join(able)}", 'Use backend="auto".'
        )
    return backend, "it was asked for"


def refusals_of(case: Case) -> dict[str, str]:
    """Why each backend that cannot serve a case cannot, by name."""
    return {name: reason for name, candidate in BACKENDS.items() if (reason := _refusal(candidate, case)) is not None}


def _refusal(candidate: Backend, case: Case) -> str | None:
    if case.pattern.composite and not candidate.composite:
        return f"each term of {type(case.pattern).__name__} has a softmax of its own"
    return candidate.serves(case)


def _rule(case: Case, able: list[str]) -> tuple[str, str]:
    if case.pattern.composite:
        return ("summed", "there is nothing to compute") if not case.batch else (able[0], "it is the first that serves its terms")
    if is_exporting():
        return able[0], "it serves an exported graph whose sizes are yet unknown"
    if not case.batch:
        return "eager", "there is nothing to compute"
    if case.tokens >= LONG:
        sparse = {"cpu": "gathered", "cuda": "flex"}.get(case.device)
        if case.restricted and sparse in able:
            return sparse, f"{case.tokens} tokens are many, and each sees few"
        if case.device == "cuda" and case.bias_learns and case.bias.stationary and "flex" in able:
            return "flex", f"{case.tokens} tokens are many, and it never holds a bias of every pair"
    if "fused" not in able:
        if case.product is not None and case.tokens < SHORT:
            return "eager", f"{case.tokens} tokens are few, and fused does not serve"
        if BACKENDS["eager"].cost(case).memory <= SMALL and not {"streamed", "features", "gathered"} & set(able):
            return "eager", "it needs little memory, and fused does not serve"
    elif not case.gradients and case.tokens >= LONG:
        for name in ("streamed", "features"):
            if name in able:
                return name, f"{case.tokens} tokens are many, and it never holds a bias of every pair"
    return able[0], "it is the first that serves"
