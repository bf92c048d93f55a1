"""Three planes of scans in one picture, with the patient's sides and a scale in mm."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vitkit.errors import DataError
from vitkit.files import replacing
from vitkit.volumes.axes import LETTERS
from vitkit.volumes.geometry import disagreement
from vitkit.volumes.intensity import Percentile
from vitkit.volumes.volume import Volume

PLANES = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}
"""The axes of RAS that run across and up in each plane."""
_LENGTHS = (1, 2, 5, 10, 20, 50, 100)


def draw_planes(scans: Sequence[tuple[Volume, Volume | None]], path: Path) -> None:
    """A PNG with a row for each scan: its axial, coronal and sagittal plane, these three at one scale.

    The patient's right is on the right, as seen from behind or above. Planes go through the middle of the scan, or through the
    middle of its mask, which is outlined. Grey runs between the percentiles 0.5 and 99.5.

    Args:
        scans: Volumes of one channel, each with its mask or None.
        path: Where the picture goes.
    """
    # Imported here, because reading scans needs no figures.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams["text.parse_math"] = False  # a dollar in a file's name is a dollar
        figure = Figure(figsize=(9, 3.3 * len(scans)), dpi=100)
        figure.subplots_adjust(0.01, 0.01, 0.99, 1 - 0.3 / (3.3 * len(scans)), wspace=0.03, hspace=0.12)
        for row, (volume, mask) in enumerate(scans):
            if mask is not None and not disagreement(volume.affine, mask.affine):
                mask = replace(mask, affine=volume.affine)  # as read_mask does, for the same reason
            volume = volume.oriented()
            grey = _grey(volume)
            inside = mask.oriented().data[0].numpy() != 0 if mask is not None else None
            middle = _middle(volume, inside)
            longest = max(length * step for length, step in zip(volume.size, volume.spacing, strict=True))
            for column, (plane, (across, up)) in enumerate(PLANES.items()):
                axes = figure.add_subplot(len(scans), 3, 1 + 3 * row + column)
                cut = tuple(slice(None) if axis in (across, up) else middle[axis] for axis in range(3))
                _draw(axes, grey[cut], inside[cut] if inside is not None else None, plane, volume.spacing, longest)
                if column == 0:
                    name = "".join(sign for sign in Path(volume.source).name if sign.isprintable())
                    size = " × ".join(map(str, volume.size))
                    spacing = " × ".join(f"{step:.3g}" for step in volume.spacing)
                    axes.set_title(f"{name[:60]}   {size} voxels of {spacing} mm", fontsize=9, loc="left")
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", facecolor="white", metadata={"Software": None})


def _draw(axes: Any, values: np.ndarray, mask: np.ndarray | None, plane: str, spacing: tuple[float, ...], side: float) -> None:
    from matplotlib.patheffects import withStroke

    across, up = PLANES[plane]
    width, height = values.shape[0] * spacing[across], values.shape[1] * spacing[up]
    axes.imshow(values.T, cmap="gray", vmin=0, vmax=1, origin="lower", extent=(0, width, 0, height), interpolation="nearest")
    if mask is not None and mask.any() and not mask.all():
        where = [(np.arange(length) + 0.5) * spacing[axis] for length, axis in zip(mask.shape, (across, up), strict=True)]
        if min(mask.shape) > 1:
            axes.contour(*where, mask.T.astype(float), levels=[0.5], colors="#ff8c3a", linewidths=1)
    style: dict[str, Any] = {"color": "#ffd24a", "fontsize": 9, "weight": "bold", "ha": "center", "va": "center"}
    rim: dict[str, Any] = {"path_effects": [withStroke(linewidth=2, foreground="black")]}  # to be read on white, too
    for end, at in enumerate((0.05, 0.95)):
        axes.text(at * width, 0.5 * height, LETTERS[across][end], **style, **rim)
        axes.text(0.5 * width, at * height, LETTERS[up][end], **style, **rim)
    length = max((length for length in _LENGTHS if length <= width / 3), default=width / 3)
    begin, base = width * 0.96 - length, height * 0.1
    axes.plot([begin, begin + length], [base, base], color="white", linewidth=2, solid_capstyle="butt", **rim)
    axes.text(
        begin + length / 2, base + height * 0.02, f"{length:g} mm", color="white", fontsize=8, ha="center", va="bottom", **rim
    )
    axes.set_xlim((width - side) / 2, (width + side) / 2)
    axes.set_ylim((height - side) / 2, (height + side) / 2)
    axes.set_axis_off()


def _grey(volume: Volume) -> np.ndarray:
    if volume.data.min() == volume.data.max():
        return np.zeros(volume.size)
    try:
        return Percentile()(volume).data[0].numpy()
    except DataError:
        return Percentile(0.0, 100.0)(volume).data[0].numpy()


def _middle(volume: Volume, mask: np.ndarray | None) -> list[int]:
    if mask is None:
        values = volume.data[0].numpy()
        mask = values > values.min()
        if 2 * mask.sum() > mask.size:  # of a shape in empty space, the shape's own middle
            mask = None
    if mask is not None and mask.any():
        return [int(np.median(index)) for index in np.nonzero(mask)]
    return [length // 2 for length in volume.size]
