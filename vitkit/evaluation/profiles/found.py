"""What profiles and certificates found, as the results hold it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Median and 90 % quantile over images; None where a drift is not defined, as that of features that were all zero."""

    median: float | None
    q90: float | None


@dataclass(frozen=True)
class LayerDrift:
    """How far a layer moved.

    Args:
        layer: Name of the layer, such as "blocks.3".
        kind: "embedding", "block" (or stage) or "logits".
        features: Relative drift of what the layer returns, ‖h(Tx) - h(x)‖ / ‖h(x)‖.
        attention: Total variation between the attention a query pays in x and in Tx, ½ ‖A(Tx) - A(x)‖₁, a mean over queries,
            heads and, in a stage, its blocks: 0 is the same attention, 1 attention to other keys altogether. None where there
            is no attention, or none that can be seen.
    """

    layer: str
    kind: str
    features: Spread
    attention: Spread | None


@dataclass(frozen=True)
class DriftProfile:
    """What one transformation of the images does to each layer of a model.

    Args:
        name: Name of the transformation.
        title: What a reader sees.
        family: Whether it is one of gain · x + shift with nothing cut, under which a certificate can hold.
        n: Images.
        tolerance: Relative drift up to which a layer counts as unmoved.
        enters: First layer whose 90 % quantile is above the tolerance, or None.
        layers: From the embedding to the logits.
    """

    name: str
    title: str
    family: bool
    n: int
    tolerance: float
    enters: str | None
    layers: list[LayerDrift]

    def layer(self, name: str) -> LayerDrift:
        """The layer of this name; "logits" is always there.

        Raises:
            KeyError: There is none.
        """
        return {layer.layer: layer for layer in self.layers}[name]


@dataclass(frozen=True)
class Certificate:
    """Whether brightness can reach a model at all, as the model claims and as it was measured.

    Args:
        verdict: "exact" if no layer moves by more than the tolerance; "up to eps" if tokens move by no more than the norm's eps
            explains; "broken" if they move although the model claims that they do not; "none" if the model claims nothing.
        family: Transformations that the model claims to be invariant to, in words; empty if it claims none.
        reason: Why, in words.
        given_up: What the model cannot tell any more for that, in words; empty if nothing.
        tolerance: Relative drift up to which a layer counts as unmoved.
        n: Images.
        worst: Transformation of the family under which the first layer moves most.
        layer: First layer that can be seen: the embedding, or the logits of a model that shows none.
        tokens: Relative drift of that layer under that transformation.
        explained: How much of it eps alone makes, 90 % quantile; None where the model does not tell.
        logits: Relative drift of the logits under the transformation that moves them most.
        breaks_at: First layer above the tolerance, or None.
    """

    verdict: str
    family: str
    reason: str
    given_up: str
    tolerance: float
    n: int
    worst: str
    layer: str
    tokens: Spread
    explained: float | None
    logits: Spread
    breaks_at: str | None
