"""Draw the pictures of densities, biases, patterns, scorers, scans and what goes wrong with them that these pages show.

python docs/pictures.py docs/images
"""

import json
import sys
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import timm
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor

from vitkit.attention import (
    Additive,
    AlongAxis,
    Axial,
    Bilinear,
    Cosine,
    Dilated,
    Global,
    Neighbourhood,
    Pattern,
    ScaledDotProduct,
    Scorer,
    Union,
    Window,
)
from vitkit.bias import (
    Bias,
    DistanceBias,
    GridDistance,
    KeyBias,
    LogCPBBias,
    PathDistance,
    PrefixBias,
    SpectralBias,
    TableBias,
)
from vitkit.corruptions import (
    Cells,
    area_of,
    border_mask,
    checkerboard_mask,
    hide,
    hole_masks,
    image,
    paint,
    random_masks,
    random_orders,
    salient_orders,
    shuffle,
    volume,
)
from vitkit.embedding import PatchEmbed
from vitkit.encoder import Classifier, Encoder
from vitkit.evaluation import AffineDrift, GammaDrift, drift
from vitkit.grid import Grid
from vitkit.preprocess import Preprocess
from vitkit.spectral import (
    Density,
    Exponential,
    Gaussian,
    Matern,
    NumericDensity,
    RationalQuadratic,
    SpectralMixture,
)
from vitkit.volumes import Percentile, draw_planes
from vitkit.volumes.phantoms import CLASSES, phantom

GRID = Grid((15, 15))
HEADS = 3
SCALES = {"num_heads": HEADS, "ndim": 2, "lengthscale": 2.5, "spread": 4.0}


class Ring(NumericDensity):
    """All orientations of one wavelength, as in the page on densities."""

    def unit_density(self, w: Tensor) -> Tensor:
        """A Gaussian ring of radius two."""
        return (-2 * (w.norm(dim=-1) - 2).square()).exp()


DENSITIES: dict[str, Callable[[], Density]] = {
    "exponential": lambda: Exponential(**SCALES),
    "gaussian": lambda: Gaussian(**SCALES),
    "matern": lambda: Matern(**SCALES, nu=1.5),
    "rational-quadratic": lambda: RationalQuadratic(**SCALES, alpha=0.5),
    "spectral-mixture": lambda: SpectralMixture(**SCALES),
    "numeric": lambda: Ring(**SCALES),
    "rotation": lambda: turned(),
}


def turned() -> Density:
    """Length scales that differ between the axes, under a rotation of each head's own."""
    density = Gaussian(HEADS, 2, lengthscale=2.5, spread=1.0, rotation=True)
    with torch.no_grad():
        density.raw_lengthscale += torch.tensor([0.6, -0.6])
        assert density.raw_rotation is not None
        density.raw_rotation.copy_(torch.tensor([[0.0], [0.6], [1.2]]))
    return density


def shifted() -> Bias:
    """A covariance that each head moves to another side."""
    bias = SpectralBias(Gaussian(**SCALES), offset=True)
    with torch.no_grad():
        assert bias.offset is not None
        bias.offset.copy_(torch.tensor([[-3.0, 0.0], [0.0, 3.0], [3.0, -3.0]]))
    return bias


def walls() -> list[list[float]]:
    """The grid's neighbours as a graph, with a wall that has one door."""
    height, width = GRID.shape
    rows = [[0.0] * len(GRID) for _ in range(len(GRID))]
    for y in range(height):
        for x in range(width):
            for other_y, other_x in ((y + 1, x), (y, x + 1)):
                wall = x == 9 and other_x == 10 and y != 3
                if other_y < height and other_x < width and not wall:
                    rows[y * width + x][other_y * width + other_x] = 1.0
    return rows


BIASES: dict[str, Callable[[], Bias]] = {
    "spectral-covariance": lambda: SpectralBias(Exponential(**SCALES, outputscale=4.0)),
    "spectral-log": lambda: SpectralBias(Exponential(**SCALES), form="log"),
    "spectral-patch": lambda: SpectralBias(Exponential(**SCALES, outputscale=4.0), support="patch"),
    "spectral-offset": shifted,
    "table": lambda: TableBias(HEADS, GRID.shape, std=1.0),
    "log-cpb": lambda: LogCPBBias(HEADS, 2, extent=[14.0, 14.0]),
    "distance-grid": lambda: DistanceBias(HEADS, GridDistance(1.0), lengthscale=2.5),
    "distance-path": lambda: DistanceBias(HEADS, PathDistance(walls()), lengthscale=2.5),
    "key": lambda: KeyBias(HEADS, GRID.shape, std=1.0),
    "sum": lambda: SpectralBias(Gaussian(**SCALES)) + DistanceBias(HEADS, lengthscale=8.0),
    "product": lambda: SpectralBias(Exponential(**SCALES)) * SpectralBias(SpectralMixture(**SCALES)),
    "prefix": lambda: SpectralBias(Exponential(**SCALES)) + prefixed(),
}


def prefixed() -> Bias:
    """Logits of a class token that are not zero."""
    bias = PrefixBias(HEADS)
    with torch.no_grad():
        bias.values.copy_(torch.tensor([[1.0, 0.5, -1.0]]))
    return bias


def show(axes: Axes, values: Tensor, title: str, colours: str = "viridis") -> None:
    """One map."""
    image = axes.imshow(values.numpy(), cmap=colours, interpolation="nearest")
    axes.set_title(title, fontsize=8)
    axes.set(xticks=[], yticks=[])
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.8)
    bar.ax.tick_params(labelsize=6)


def draw_density(density: Density) -> Figure:
    """The first head's density, then each head's covariance around the origin."""
    figure = Figure(figsize=(8, 1.9), layout="constrained")
    panels = figure.subplots(1, 1 + HEADS)
    k = torch.linspace(-2, 2, 60)
    frequencies = torch.stack(torch.meshgrid(k, k, indexing="ij"), dim=-1)
    with torch.no_grad():
        spectrum, table = density.density(frequencies)[0], density.table(GRID)
    show(panels[0], (spectrum / spectrum[spectrum.isfinite()].max()).clamp(min=1e-6).log10(), "log₁₀ S(k), head 0", "magma")
    for head in range(HEADS):
        show(panels[1 + head], table[head], f"b(r), head {head}")
    return figure


def draw_bias(bias: Bias, prefix: int) -> Figure:
    """Each head's logits of the central query, or with a prefix all logits of a small grid."""
    figure = Figure(figsize=(6.2, 1.9), layout="constrained")
    with torch.no_grad():
        logits = bias(Grid((3, 3)) if prefix else GRID, prefix).detach()
    for head, axes in enumerate(figure.subplots(1, HEADS)):
        show(axes, logits[head] if prefix else logits[head, len(GRID) // 2].view(GRID.shape), f"head {head}")
    return figure


PATTERNS: dict[str, Pattern] = {
    "window": Window(4),
    "window-shift": Window(4, shift=2),
    "window-overlap": Window(4, overlap=1),
    "dilated": Dilated(4),
    "neighbourhood": Neighbourhood(2),
    "neighbourhood-dilated": Neighbourhood(2, dilation=2),
    "global": Global(tokens=[[2, 2], [8, 9]]),
    "along-axis": AlongAxis(1),
    "axial": Axial(),
    "axial-window": Axial(window=4),
    "union": Union([Window(4), Neighbourhood(2), Global(tokens=[[2, 2], [8, 9]])]),
}


def draw_pattern(pattern: Pattern) -> Figure:
    """The keys that some queries see, each marked by a dot, then the mask of all pairs."""
    grid = Grid((12, 12))
    allowed = pattern.allowed(grid)
    assert allowed is not None
    figure = Figure(figsize=(8, 1.8), layout="constrained")
    *panels, last = figure.subplots(1, 5)
    for axes, (y, x) in zip(panels, ((1, 1), (5, 6), (8, 9), (11, 4)), strict=True):
        axes.imshow(allowed[y * 12 + x].view(grid.shape).numpy(), cmap="Blues", vmin=0, vmax=1.4, interpolation="nearest")
        axes.plot(x, y, "o", color="tab:orange", markersize=4)
        axes.set_title(f"seen from ({y}, {x})", fontsize=8)
    last.imshow(allowed.numpy(), cmap="Blues", vmin=0, vmax=1.4, interpolation="nearest")
    last.set_title(f"all pairs: {allowed.double().mean().item():.0%}", fontsize=8)
    for axes in (*panels, last):
        axes.set(xticks=[], yticks=[])
    return figure


def tempered(scorer: Scorer) -> Scorer:
    """Another temperature for each head."""
    with torch.no_grad():
        assert scorer.log_temperature is not None
        scorer.log_temperature.copy_(torch.tensor([0.5, 1.0, 2.0]).log())
    return scorer


def formed() -> Bilinear:
    """A form for each head: a rotation, a stretch, and what looks along one axis alone."""
    scorer = Bilinear(HEADS, 2)
    with torch.no_grad():
        scorer.weight.copy_(torch.tensor([[[0.0, 1.0], [-1.0, 0.0]], [[2.0, 0.0], [0.0, 0.5]], [[0.0, 0.0], [0.0, 1.5]]]))
    return scorer


SCORERS: dict[str, Callable[[], Scorer]] = {
    "dot-product": lambda: tempered(ScaledDotProduct(learned=True, num_heads=HEADS)),
    "cosine": lambda: tempered(Cosine(HEADS)),
    "bilinear": formed,
    "additive": lambda: Additive(HEADS, 2),
}


def draw_scorer(scorer: Scorer) -> Figure:
    """Each head's score of every key in the plane with one query, which a dot marks."""
    figure = Figure(figsize=(6.2, 1.9), layout="constrained")
    side = torch.linspace(-2, 2, 41)
    keys = torch.stack(torch.meshgrid(-side, side, indexing="ij"), dim=-1).flip(-1).flatten(0, 1)
    query = torch.tensor([1.0, 0.5])
    with torch.no_grad():
        scores = scorer(query.expand(1, HEADS, 1, 2), keys.expand(1, HEADS, -1, 2)).view(HEADS, 41, 41)
    for head, axes in enumerate(figure.subplots(1, HEADS)):
        show(axes, scores[head], f"head {head}")
        axes.plot(10 * (query[0].item() + 2), 10 * (2 - query[1].item()), "o", color="tab:orange", markersize=4)
    return figure


def draw_phantom(path: Path) -> None:
    """Three planes of both scans of one phantom, with the outline of its mask."""
    draw_planes([phantom(CLASSES["large"], patient=1, scan=scan, seed=0) for scan in (0, 1)], path)


PATCHES = {(1.5, 1.5, 1.5): (8, 8, 8), (1.2, 1.2, 3.0): (10, 10, 4)}
"""Voxels of a patch at two spacings: cubes of 12 mm at both."""
PLANES = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}
OCCLUSION = 49  # a seed that hides something in each plane


def draw_occluders() -> Figure:
    """The same cuboids, painted over three planes of one phantom at two spacings, with axes in mm."""
    figure = Figure(figsize=(8, 5.3), layout="constrained")
    panels = figure.subplots(2, 3)
    for row, (spacing, patch) in zip(panels, PATCHES.items(), strict=True):
        scan = Percentile()(phantom(CLASSES["large"], patient=1, scan=0, seed=0)[0].oriented()).resampled(spacing)
        values = scan.data[None].clamp(0, 1)
        shape = tuple(length // step for length, step in zip(scan.size, patch, strict=True))
        grid = Grid(shape, tuple(step * length for step, length in zip(spacing, patch, strict=True)))
        masks = random_masks([OCCLUSION], grid, 0.3)
        painted = paint(values, area_of(masks, scan.size, grid, spacing), "mean")[0, 0]
        for axes, plane in zip(row, PLANES, strict=True):
            show_plane(axes, painted, plane, spacing)
            outline(axes, masks[0], plane, grid)
        words = " × ".join(f"{step:g}" for step in spacing)
        row[0].set_title(f"voxels of {words} mm, patches of {' × '.join(map(str, patch))} voxels", fontsize=8, loc="left")
    return figure


def show_plane(axes: Axes, values: Tensor, plane: str, spacing: tuple[float, ...]) -> None:
    """A plane through the middle of a volume (R, A, S), in mm."""
    across, up = PLANES[plane]
    width, height = (values.shape[axis] * spacing[axis] for axis in (across, up))
    shown = middle(values, plane).T.numpy()
    axes.imshow(shown, cmap="gray", vmin=0, vmax=1, origin="lower", extent=(0, width, 0, height), interpolation="nearest")
    axes.set(xticks=range(0, 49, 12), yticks=range(0, 49, 12))
    axes.tick_params(labelsize=7)
    axes.set_xlabel(f"{plane}: along {'RAS'[across]}, mm", fontsize=8)
    axes.set_ylabel(f"along {'RAS'[up]}, mm", fontsize=8)


def outline(axes: Axes, hidden: Tensor, plane: str, grid: Grid) -> None:
    """The hidden cuboids that the plane goes through."""
    width, height = (grid.spacing[axis] for axis in PLANES[plane])
    for column, row in middle(hidden, plane).nonzero().tolist():
        axes.add_patch(Rectangle((column * width, row * height), width, height, fill=False, color="tab:orange", linewidth=1.5))


def middle(values: Tensor, plane: str) -> Tensor:
    """What lies in the plane through the middle."""
    return values[tuple(slice(None) if axis in PLANES[plane] else length // 2 for axis, length in enumerate(values.shape))]


def draw_reach() -> Figure:
    """What the token in the middle of a grid can hear of after one, two and three axial layers, cut open."""
    grid = Grid((7, 7, 7))
    sees = Axial().allowed(grid)
    assert sees is not None
    reached = torch.zeros(len(grid), dtype=torch.bool)
    reached[len(grid) // 2] = True
    first = torch.where(reached, 0, -1)  # the layer by which each token is reached
    for layer in (1, 2, 3):
        reached = sees[reached].any(0)
        first[reached & (first < 0)] = layer
    figure = Figure(figsize=(8, 2.9))
    figure.subplots_adjust(0, 0, 1, 0.9, wspace=0)
    open_corner = torch.zeros(grid.shape, dtype=torch.bool)
    open_corner[4:, :3, 4:] = True
    colours = ["#1f4e8c", "#1f4e8c", "#5b9bd5", "#c6dbef"]
    for layer in (1, 2, 3):
        axes: Any = figure.add_subplot(1, 3, layer, projection="3d")
        there = (first.view(grid.shape) <= layer) & (first.view(grid.shape) >= 0) & ~open_corner
        faces = [[[colours[each] for each in row] for row in plane] for plane in first.view(grid.shape).tolist()]
        axes.voxels(there.numpy(), facecolors=np.array(faces), edgecolors="#404040", linewidth=0.25)
        axes.set(xlim=(0, 7), ylim=(0, 7), zlim=(0, 7), xticks=[], yticks=[], zticks=[], box_aspect=(1, 1, 1))
        axes.set_xlabel("R", labelpad=-14)
        axes.set_ylabel("A", labelpad=-14)
        axes.set_zlabel("S", labelpad=-14)
        count = int(((first <= layer) & (first >= 0)).sum())
        axes.set_title(f"{layer} layer{'s' * (layer > 1)}: {count} of {len(grid)} tokens", fontsize=8, y=1.03)
        axes.view_init(elev=24, azim=-58)
    return figure


def draw_millimetres() -> Figure:
    """One head's logits along each axis, in mm: one curve, taken at the displacements of two grids."""
    density = Exponential(num_heads=1, ndim=3, lengthscale=20.0, outputscale=4.0)
    with torch.no_grad():
        density.raw_lengthscale += torch.tensor([0.5, 0.0, -0.7])
    grids = {"voxels of 1.5 × 1.5 × 1.5 mm": Grid((8, 8, 8), (12.0, 12.0, 12.0))}
    grids["voxels of 1.2 × 1.2 × 3 mm"] = Grid((10, 10, 4), (9.6, 9.6, 24.0))
    figure = Figure(figsize=(8, 2.3), layout="constrained")
    for axis, axes in enumerate(figure.subplots(1, 3, sharey=True)):
        r = torch.zeros(361, 3)
        r[:, axis] = torch.linspace(-90, 90, 361)
        with torch.no_grad():
            axes.plot(r[:, axis].numpy(), density.covariance(r)[0].numpy(), color="0.6", linewidth=1)
            for (name, grid), style in zip(grids.items(), ({"marker": "o"}, {"marker": "x"}), strict=True):
                table = SpectralBias(density).table(grid)[0]
                line = table[tuple(slice(None) if other == axis else length - 1 for other, length in enumerate(grid.shape))]
                axes.plot(grid.offsets(axis).numpy(), line.numpy(), linestyle="", markersize=4.5, label=name, **style)
        axes.set_xlabel(f"displacement along {'RAS'[axis]}, mm", fontsize=8)
        axes.set_xticks(range(-72, 73, 24))
        axes.tick_params(labelsize=7)
    figure.axes[0].set_ylabel("logits", fontsize=8)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    return figure


ARTEFACTS: dict[str, dict[str, tuple[Callable[..., Tensor], dict[str, Any]]]] = {
    "intensity": {
        "bias field": (volume.bias_field, {}),
        "gamma, brighter": (volume.gamma, {"direction": "brighter"}),
        "gamma, darker": (volume.gamma, {"direction": "darker"}),
        "scaling, brighter": (volume.intensity_scaling, {"direction": "brighter"}),
        "scaling, darker": (volume.intensity_scaling, {"direction": "darker"}),
        "window, 400 HU": (volume.window_shift, {"width": 400.0}),
    },
    "scanner": {
        "Rician noise": (volume.rician_noise, {}),
        "motion": (volume.motion, {"spacing": (1.0, 1.0, 1.0)}),
        "ghosting": (volume.ghosting, {}),
        "spikes": (volume.spikes, {}),
        "Gibbs ringing": (volume.gibbs_ringing, {}),
        "smoothing": (volume.smoothing, {"spacing": (1.0, 1.0, 1.0)}),
        "downsampling": (volume.downsampling, {}),
        "thick slices": (volume.thick_slices, {"spacing": (1.0, 1.0, 1.0)}),
        "rotation": (volume.rotation, {}),
        "mirrored axes": (volume.orientation_flip, {}),
    },
}
ARTEFACT = 3  # a seed


def draw_artefacts(kind: str) -> Figure:
    """Three planes of one phantom under each corruption, at three severities."""
    scan = Percentile()(phantom(CLASSES["large"], patient=1, scan=0, seed=0)[0].oriented()).resampled((1.0, 1.0, 1.0))
    images = scan.data[None].clamp(0, 1)
    found = ARTEFACTS[kind]
    figure = Figure(figsize=(8, 0.25 + 0.83 * len(found)), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.02, w_pad=0.03, hspace=0.0, wspace=0.0)
    panels = figure.subplots(len(found), 3)
    for row, (name, (change, arguments)) in zip(panels, found.items(), strict=True):
        severities = (1, 2, 3) if change is volume.orientation_flip else (1, 3, 5)
        for axes, severity in zip(row, severities, strict=True):
            values = change(images, severity, [ARTEFACT], **arguments).clamp(0, 1)[0, 0]
            axes.imshow(
                torch.cat([middle(values, plane).T.flip(0) for plane in PLANES], dim=1).numpy(), cmap="gray", vmin=0, vmax=1
            )
            axes.set(xticks=[], yticks=[])
            if name == next(iter(found)) or severities[1] == 2:
                axes.set_title(f"severity {severity}", fontsize=8, pad=3)
        row[0].set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center")
    return figure


def occluded() -> dict[str, dict[str, Tensor]]:
    """One slice of a phantom under every kind of occlusion, by the picture that shows it."""
    scan = Percentile()(phantom(CLASSES["large"], patient=1, scan=0, seed=0)[0].oriented()).resampled((0.5, 0.5, 1.5))
    volume = scan.data[None].clamp(0, 1)
    image = torch.nn.functional.interpolate(volume[..., volume.shape[-1] // 2], (84, 84), mode="bilinear")
    other = image.flip(-1).transpose(-1, -2)
    cells = Cells.of((84, 84), Grid((14, 14), (6.0, 6.0)))
    seed, shape = [OCCLUSION], cells.shape
    bright = salient_orders(cells.pool(image[0]), seed), salient_orders(cells.pool(image[0]), seed, descending=False)
    masks = {
        "random": random_masks(seed, Grid(shape), 0.5),
        "most salient": hide(bright[0], 0.5).view(1, *shape),
        "least salient": hide(bright[1], 0.5).view(1, *shape),
        "hole": hole_masks(shape, 0.5, seed),
        "border": border_mask(shape, 0.5)[None],
        "checkerboard": checkerboard_mask(shape)[None],
    }
    laid = {
        "grid of 8": Cells.of((84, 84), Grid((8, 8))),
        "pixels": Cells.laid((84, 84), (1.0, 1.0)),
        "half a patch off": Cells.laid((84, 84), (6.0, 6.0), (3.0, 3.0)),
    }
    halves = {
        name: each.spread(hide(random_orders(seed, len(each.areas())), 0.5, each.areas()).view(1, *each.shape))
        for name, each in laid.items()
    }
    area = cells.spread(masks["random"])
    return {
        "kinds": {name: paint(image, cells.spread(mask)) for name, mask in masks.items()},
        "cells": {name: paint(image, half) for name, half in halves.items()}
        | {f"shuffled, {count} × {count}": shuffle(image, count, seed) for count in (2, 4, 14)},
        "fills": {"untouched": image}
        | {fill: paint(image, area, fill, seed, other) for fill in ("zero", "mean", "noise", "blur", "image")},
    }


def draw_strip(pictures: dict[str, Tensor]) -> Figure:
    """Pictures side by side, each under its name."""
    figure = Figure(figsize=(8, 1.6), layout="constrained")
    for axes, (name, picture) in zip(figure.subplots(1, len(pictures)), pictures.items(), strict=True):
        axes.imshow(picture[0, 0].T.numpy(), cmap="gray", vmin=0, vmax=1, origin="lower", interpolation="nearest")
        axes.set_title(name, fontsize=8)
        axes.set_axis_off()
    return figure


def draw_drift() -> Figure:
    """Drift of each layer of four vision transformers with random weights, in patches of a photo."""
    photo = torch.from_numpy(load_sample_image("china.jpg").copy()).permute(2, 0, 1) / 255
    images = photo.unfold(1, 64, 64).unfold(2, 64, 64).reshape(3, -1, 64, 64).transpose(0, 1)[::2]
    imagenet, shared = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0.5,) * 3, (0.25,) * 3)

    def vit(norm: Literal["none", "patch"], mean: Sequence[float], std: Sequence[float]) -> torch.nn.Module:
        torch.manual_seed(0)
        embed = PatchEmbed(ndim=2, patch_size=8, in_chans=3, dim=96, norm=norm)
        return Classifier(Encoder(embed, depth=6, num_heads=3), 10, Preprocess((64, 64), mean, std))

    torch.manual_seed(0)
    peer = timm.create_model("vit_tiny_patch16_224", img_size=64, patch_size=8, depth=6, num_classes=10)
    torch.nn.init.normal_(peer.head.weight, std=0.02)  # it begins with zeros, and so would its logits
    models = {
        "timm, vit_tiny": peer,
        "vitkit, no norm": vit("none", *imagenet),
        "norm=patch, ImageNet's std": vit("patch", *imagenet),
        "norm=patch, one std": vit("patch", *shared),
    }
    changes = {"gain 0.8": AffineDrift(gain=0.8), "shift 0.1": AffineDrift(shift=0.1), "gamma 0.8": GammaDrift(0.8)}
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    panels = figure.subplots(1, len(models), sharey=True)
    for axes, (title, model) in zip(panels, models.items(), strict=True):
        for (name, change), marker in zip(changes.items(), "os^", strict=True):
            layers = drift(model, images, change).layers
            axes.semilogy([layer.features.median for layer in layers], marker=marker, markersize=4, linewidth=1.2, label=name)
        axes.set_xticks(range(len(layers)), ["embed", *map(str, range(1, len(layers) - 1)), "logits"], rotation=90, fontsize=8)
        axes.set_title(title, fontsize=9)
        axes.set_ylim(1e-7, 2)
        axes.grid(axis="y", linewidth=0.4)
    panels[0].set_ylabel("relative drift (median)", fontsize=9)
    panels[0].legend(fontsize=8, loc="center")
    return figure


CORRUPTIONS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "gaussian_blur"),
    "weather": ("snow", "frost", "fog", "brightness", "spatter"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression", "saturate"),
}


def draw_corruptions(names: tuple[str, ...]) -> Figure:
    """A photograph of 224 x 224 pixels under each corruption, a column each, at severities 1, 3 and 5."""
    cut = load_sample_image("china.jpg")[100:324, 200:424]
    photograph = torch.from_numpy(cut.copy()).permute(2, 0, 1)[None] / 255
    figure = Figure(figsize=(1.5 * len(names), 4.7), layout="constrained")
    for column, name in enumerate(names):
        for row, severity in enumerate((1, 3, 5)):
            axes = figure.add_subplot(3, len(names), row * len(names) + column + 1)
            axes.imshow(getattr(image, name)(photograph, severity, [0])[0].permute(1, 2, 0).numpy())
            axes.set(xticks=[], yticks=[])
            if row == 0:
                axes.set_title(name, fontsize=8)
            if column == 0:
                axes.set_ylabel(f"severity {severity}", fontsize=8)
    return figure


def save_few_colours(figure: Figure, path: Path) -> None:
    """As a PNG of 128 colours: photographs with noise are large otherwise."""
    file = BytesIO()
    figure.savefig(file, dpi=100)
    Image.open(file).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


PAIRS = {
    "attention": ("vit minus resnet", "transformer minus ResNet"),
    "pixelnorm": ("vit_pixelnorm minus vit", "with pixel LayerNorm minus without"),
}
"""Pairs of models of the evidence, and how a reader is told of their difference."""
EVIDENCE = Path(__file__).parents[1] / "benchmarks" / "results" / "robustness_evidence.json"


def draw_evidence(pair: str, words: str) -> Figure:
    """How far two models are apart under every condition that is the same for both, on both data sets."""
    results = json.loads(EVIDENCE.read_text("utf-8"))["results"]
    found = {title: results[name]["differences"][pair] for name, title in {"digits": "digits", "pneumonia": "X-rays"}.items()}
    shared = results["digits"]["means"]["mean of occlusion on shared cells"]
    own = (
        [] if "resnet" not in pair else [name for name in found["digits"] if name.startswith("occlusion") and name not in shared]
    )
    names = [name for name in found["digits"] if not name.startswith("mean of") and name not in own]
    figure = Figure(figsize=(8, 0.9 + 0.19 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    for offset, colour, (title, scores) in zip((-0.17, 0.17), ("tab:blue", "tab:orange"), found.items(), strict=True):
        rows = [scores[name] for name in names]
        values = 100 * np.array([[row["mean"], row["low"], row["high"]] for row in rows])
        place = np.arange(len(names)) + offset
        axes.hlines(place, values[:, 1], values[:, 2], color=colour, linewidth=1)
        axes.plot(values[:, 0], place, "o", color=colour, markersize=3.5, label=title)
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.set_yticks(range(len(names)), [name.partition(".")[2].replace("_", " ") or name for name in names], fontsize=7)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(-50, 90))
    axes.set_xlabel(f"{words}, percentage points; bars: 95 % over seeds", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)
    for boundary in [index for index in range(1, len(names)) if names[index].split(".")[0] != names[index - 1].split(".")[0]]:
        axes.axhline(boundary - 0.5, color="0.85", linewidth=0.8)
    axes.legend(fontsize=8, frameon=False, loc="upper right")
    return figure


def main(folder: Path) -> None:
    """Draw all of them."""
    torch.manual_seed(0)
    for name, density in DENSITIES.items():
        draw_density(density()).savefig(folder / f"density-{name}.png", dpi=110)
    for name, bias in BIASES.items():
        draw_bias(bias(), prefix=1 if name == "prefix" else 0).savefig(folder / f"bias-{name}.png", dpi=110)
    for name, pattern in PATTERNS.items():
        draw_pattern(pattern).savefig(folder / f"pattern-{name}.png", dpi=110)
    for name, scorer in SCORERS.items():
        draw_scorer(scorer()).savefig(folder / f"scorer-{name}.png", dpi=110)
    for name, pictures in occluded().items():
        draw_strip(pictures).savefig(folder / f"occlusion-{name}.png", dpi=110)
    for name, corruptions in CORRUPTIONS.items():
        save_few_colours(draw_corruptions(corruptions), folder / f"corruption-{name}.png")
    draw_phantom(folder / "scan-planes.png")
    for name, draw in {"occluders": draw_occluders, "reach": draw_reach, "bias": draw_millimetres}.items():
        draw().savefig(folder / f"scan-{name}.png", dpi=110)
    draw_drift().savefig(folder / "invariance-drift.png", dpi=110)
    for name, (pair, words) in PAIRS.items():
        draw_evidence(pair, words).savefig(folder / f"evidence-{name}.png", dpi=110)
    for name in ARTEFACTS:
        draw_artefacts(name).savefig(folder / f"artefact-{name}.png", dpi=90)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
