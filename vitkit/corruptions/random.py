"""Random numbers of one seed an image, made on the images' device by whole-number arithmetic: the same bits everywhere.

A library's generator draws one stream for a whole batch, and other numbers on a GPU than on a CPU. Here each number is a hash of
its image's seed, of a stream and of its own place: x = i·φ + k₀ for place i, mixed twice by two multiplications and three shifts
with xor (the finaliser found by Wellons 2018, "Prospecting for hash functions"), with k₁ added in between. The keys k₀ and k₁ are
BLAKE2b of the seed and the stream. So a number does not depend on the batch, the image's place in it, or the number of threads,
and any device can make all of them at once. Real numbers come of these by additions, multiplications, divisions and square roots
alone, which IEEE 754 rounds in one way; logarithm, sine and cosine, which differ between libraries, are written out as series.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from math import factorial, log, pi, prod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vitkit.corruptions import compiled
from vitkit.errors import UsageError

# A CPU is at its best on pieces that stay in its cache; a GPU takes all at once.
_PIECE = 1 << 17
_MANY = 1 << 40  # streams that nobody names, for a second draw
_ROOT_HALF = 0x3F3504F3  # the bits of √½ as a float32


def bits(
    seeds: Sequence[int], shape: Sequence[int], device: torch.device | str = "cpu", stream: int = 0
) -> Int[Tensor, "batch *shape"]:
    """32 random bits at every place, as whole numbers in [-2³¹, 2³¹).

    Args:
        seeds: One for each image, any whole number.
        shape: Of what is drawn for one image.
        device: Where to draw; the numbers are the same on each.
        stream: Draws of another stream are independent of these.

    Raises:
        UsageError: More than 2³¹ numbers for one image.

    >>> bits([7], [2]).tolist() == bits([1, 7], [2])[1:].tolist()
    True
    """
    count = _counted(shape)
    out = torch.empty(len(seeds), count, dtype=torch.int32, device=device)
    keys = [_keys(seed, stream) for seed in seeds]
    if compiled.draw("bits", keys, out):
        return out.view(len(seeds), *shape)
    first, second = torch.tensor(keys, dtype=torch.int32, device=device).view(-1, 2, 1).unbind(1)
    steps = torch.arange(min(count, _PIECE) if out.device.type == "cpu" else count, dtype=torch.int32, device=device)
    steps *= _signed(0x9E3779B9)
    for rows, columns in _pieces(out):
        x = out[rows, columns]
        torch.add(steps[: x.shape[1]], first[rows] + _signed(columns.start * 0x9E3779B9), out=x)
        _mix(x)
        x += second[rows]
        _mix(x)
    return out.view(len(seeds), *shape)


def uniform(
    seeds: Sequence[int], shape: Sequence[int], device: torch.device | str = "cpu", stream: int = 0
) -> Float[Tensor, "batch *shape"]:
    """Uniform in [0, 1): multiples of 2⁻²⁴, all of them equally likely.

    Args:
        seeds: One for each image, any whole number.
        shape: Of what is drawn for one image.
        device: Where to draw; the numbers are the same on each, to the last bit.
        stream: Draws of another stream are independent of these.

    >>> drawn = uniform([1, 2], [3, 4])
    >>> drawn.shape, bool((drawn >= 0).all() and (drawn < 1).all())
    (torch.Size([2, 3, 4]), True)
    """
    out = torch.empty(len(seeds), _counted(shape), device=device)
    if compiled.draw("uniform", [_keys(seed, stream) for seed in seeds], out):
        return out.view(len(seeds), *shape)
    drawn = bits(seeds, shape, device, stream).view(len(seeds), prod(shape))
    out = drawn.view(torch.float32)
    for piece in _pieces(drawn):
        out[piece] = ((drawn[piece] >> 8) & 0xFFFFFF).to(torch.float32).mul_(2.0**-24)
    return out.view(len(seeds), *shape)


def normal(
    seeds: Sequence[int], shape: Sequence[int], device: torch.device | str = "cpu", stream: int = 0
) -> Float[Tensor, "batch *shape"]:
    r"""Standard normal numbers, by the method of Box and Muller (1958), two at a time.

    .. math::
        \sqrt{-2 \ln u}\,(\cos 2\pi v, \sin 2\pi v), \qquad u \in (0, 1],\ v \in [0, 1)

    u and v have 24 bits, so that nothing is further out than 5.77 standard deviations, where one of 10⁸ true draws would be.

    Args:
        seeds: One for each image, any whole number.
        shape: Of what is drawn for one image.
        device: Where to draw; the numbers are the same on each, to the last bit.
        stream: Draws of another stream are independent of these.

    >>> normal([3], [5], stream=1).shape
    torch.Size([1, 5])
    """
    count = _counted(shape)
    half = (count + 1) // 2
    out = torch.empty(len(seeds), 2, half, device=device)
    if not compiled.draw("normal", [_keys(seed, stream) for seed in seeds], out):
        radius, angle = bits(seeds, [2, half], device, stream).unbind(1)
        for rows, columns in _pieces(radius):
            distance = _distance(radius[rows, columns])
            cosine, sine = _direction(angle[rows, columns])
            torch.mul(distance, cosine, out=out[rows, 0, columns])
            torch.mul(distance, sine, out=out[rows, 1, columns])
    return out.view(len(seeds), 2 * half)[:, :count].reshape(len(seeds), *shape)


def poisson(seeds: Sequence[int], rates: Float[Tensor, "batch *shape"], stream: int = 0) -> Float[Tensor, "batch *shape"]:
    """Numbers of events, at a rate of its own at every place.

    Below a rate of 4 by counting the values of the distribution function that a uniform number is above; from there by the
    expansion of its inverse about a normal number (Giles 2016, "Algorithm 955", equation for Q̃_N2), whose error moves fewer than
    one draw of two hundred by one event, and the mean by less than a thousandth of an event.

    Args:
        seeds: One for each image, any whole number.
        rates: Not negative, on the device where to draw. Counts are the same on each device but for the rounding of a rate's
            exponential, which may move one of a million by one.
        stream: Draws of another stream are independent of these.

    >>> poisson([1], torch.zeros(1, 3)).tolist()
    [[0.0, 0.0, 0.0]]
    """
    count = _counted(rates.shape[1:])
    flat = rates.reshape(len(seeds), count)
    low = flat.clamp(max=4)
    # P(≤ n) is the sum of λᵏ·exp(-λ) / k! for k to n; no draw of so few bits is above that of 18.
    power = torch.exp(-low)
    half = (count + 1) // 2
    out = torch.empty(len(seeds), 2, half, dtype=rates.dtype, device=rates.device)
    if compiled.events([(*_keys(seed, stream), *_keys(seed, _MANY + stream)) for seed in seeds], flat, power, out):
        return out.view(len(seeds), 2 * half)[:, :count].reshape(rates.shape)
    drawn = uniform(seeds, (count,), rates.device, stream)
    below = power.clone()
    few = torch.zeros_like(flat, dtype=torch.uint8)
    above = torch.empty_like(flat, dtype=torch.bool)
    for events in range(1, 19):
        few += torch.ge(drawn, below, out=above).view(torch.uint8)
        below.add_(power.mul_(low) * (1 / factorial(events)))
    w = normal(seeds, (count,), rates.device, _MANY + stream)
    root = _root(flat.clamp(min=1))
    square = w * w
    # λ + w√λ + (1/3 + w²/6) - (w + w³/2) / (36√λ) + (-8/405 + 7w²/810 + w⁴/270) / λ
    many = (square * (1 / 270)).add_(7 / 810).mul_(square).add_(-8 / 405).div_(root)
    many.sub_((square * 0.5).add_(1).mul_(w).mul_(1 / 36)).div_(root)
    many.add_(square.mul_(1 / 6)).add_(1 / 3).add_(w.mul_(root)).add_(flat).floor_().clamp_(min=0)
    return torch.where(flat < 4, few.to(rates.dtype), many).view(rates.shape)


def _counted(shape: Sequence[int]) -> int:
    """How many numbers of one image."""
    count = prod(shape)
    if count > 2**31:
        raise UsageError(f"{count} random numbers for one image", "at most 2³¹", "Draw them in several streams.")
    return count


def _keys(seed: int, stream: int) -> tuple[int, int]:
    digest = blake2b(repr((int(seed), int(stream))).encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little", signed=True), int.from_bytes(digest[4:], "little", signed=True)


def _signed(value: int) -> int:
    """The low 32 bits as torch's signed whole numbers have them; products wrap round in either reading."""
    return (value + 2**31) % 2**32 - 2**31


def _pieces(x: Tensor) -> Iterator[tuple[slice, slice]]:
    rows, columns = x.shape
    if x.device.type != "cpu":
        yield slice(0, rows), slice(0, columns)
        return
    high = max(1, _PIECE // max(columns, 1))
    for row in range(0, rows, high):
        for column in range(0, columns, _PIECE):
            yield slice(row, min(row + high, rows)), slice(column, min(column + _PIECE, columns))


def _mix(x: Tensor) -> None:
    """A bijection of 32 bits in which every bit that goes in turns every bit that comes out with a probability near a half."""
    # torch shifts signed numbers with their sign, which the mask takes away.
    x ^= (x >> 16).bitwise_and_(0xFFFF)
    x *= 0x7FEB352D
    x ^= (x >> 15).bitwise_and_(0x1FFFF)
    x *= _signed(0x846CA68B)
    x ^= (x >> 16).bitwise_and_(0xFFFF)


def _distance(drawn: Tensor) -> Tensor:
    """√(-2 ln u) for u = (k + 1) / 2²⁴, k being the upper 24 bits."""
    u = ((drawn >> 8) & 0xFFFFFF).add_(1).to(torch.float32)
    # u = m · 2ᵉ with m in [√½, √2), from the bits of the number itself; ln m is 2 artanh((m - 1) / (m + 1)).
    parts = u.view(torch.int32) - _ROOT_HALF
    exponent = (parts >> 23).add_(-24).to(torch.float32)
    m = (parts & 0x7FFFFF).add_(_ROOT_HALF).view(torch.float32)
    s = (m - 1).div_(m.add_(1))
    square = s * s
    series = (square * (2 / 9)).add_(2 / 7).mul_(square).add_(2 / 5).mul_(square).add_(2 / 3).mul_(square).add_(2).mul_(s)
    return _root(exponent.mul_(log(2)).add_(series).mul_(-2).clamp_(min=0))


def _root(x: Tensor) -> Tensor:
    """Rounded as IEEE 754 asks for. On a CPU torch may leave it to a library that is off by a bit, but not through float64."""
    return x.double().sqrt_().float() if x.device.type == "cpu" else x.sqrt()


def _direction(drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of a uniform angle: in [-π/4, π/4) by the upper 24 bits, and turned by two of the others."""
    a = (drawn >> 8).to(torch.float32).mul_(pi / 2 * 2.0**-24)
    square = a * a
    sine = (
        (square * (1 / 362880)).add_(-1 / 5040).mul_(square).add_(1 / 120).mul_(square).add_(-1 / 6).mul_(square).add_(1).mul_(a)
    )
    cosine = (square * (1 / 40320)).add_(-1 / 720).mul_(square).add_(1 / 24).mul_(square).add_(-1 / 2).mul_(square).add_(1)
    cosine *= 1 - (drawn & 2).to(torch.float32)
    swapped = (drawn & 1).to(torch.bool)
    return torch.where(swapped, sine, cosine), torch.where(swapped, cosine, sine)
