"""Profiles and certificate of a run: measured once, kept in its folder, read again for its results."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vitkit.errors import DataError
from vitkit.evaluation.profiles.certificate import Certifier
from vitkit.evaluation.profiles.found import Certificate, DriftProfile
from vitkit.evaluation.profiles.kinds import Drift
from vitkit.evaluation.profiles.measure import TOLERANCE, Profiler, at_once
from vitkit.evaluation.stream import Stream, chunks
from vitkit.evaluation.subject import Subject
from vitkit.evaluation.tree import read_tree
from vitkit.files import replacing

PROFILES = "profiles.json"


@dataclass(frozen=True)
class Profiles:
    """What ``profiles.json`` holds."""

    profiles: list[DriftProfile]
    certificate: Certificate


def check_profiles(drifts: Sequence[Drift], stream: Stream) -> None:
    """Refuse transformations that cannot be applied to such images, before anything is run.

    Raises:
        UsageError: Numbers for other channels than the images have.
    """
    for drift in drifts:
        drift(torch.zeros(1, *stream.size))


def write_profiles(folder: Path, drifts: Sequence[Drift], subject: Subject, loader: Iterable[Any], stream: Stream) -> None:
    """Measure the profiles and the certificate of a model in evaluation mode, unless the folder holds them already.

    Each profile is measured on the first images of the data, as many as it says or as there are; the certificate on as many as
    the longest profile.
    """
    if not drifts or (folder / PROFILES).exists():
        return
    most = min(max(drift.images for drift in drifts), stream.n)
    certifier = Certifier(subject, stream.size[0])
    lengths = [min(drift.images, most) for drift in drifts]
    # Those of one length share the untouched pass.
    profilers = {
        length: Profiler(subject, [d for d, own in zip(drifts, lengths, strict=True) if own == length]) for length in lengths
    }
    certified = profilers[most]
    start = len(certified.transforms)
    certified.extend(certifier.members)
    done, size = 0, min(at_once(stream.size), most)
    for (images, _, _, real, _), valid in chunks(loader, size, stream):
        images = images.to(subject.device)
        real = None if real is None else real.to(subject.device)
        for length, profiler in profilers.items():
            if done < length:
                profiler.add(images, real, min(valid, length - done))
        certifier.add(images, real, min(valid, most - done))
        done += valid
        if done >= most:
            break
    places = {length: iter(range(len(profiler.transforms))) for length, profiler in profilers.items()}
    profiles = [
        profilers[own].profile(next(places[own]), drift.name, drift.title, family=drift.family, tolerance=TOLERANCE)
        for drift, own in zip(drifts, lengths, strict=True)
    ]
    found = Profiles(profiles, certifier.certificate(certified, start))
    with replacing(folder / PROFILES) as path:
        path.write_text(json.dumps(asdict(found), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_profiles(folder: Path) -> dict[str, Any]:
    """``profiles`` and ``certificate`` of a run as the results hold them; empty if it has none.

    Raises:
        DataError: The file cannot be read.
    """
    path = folder / PROFILES
    if not path.exists():
        return {}
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no JSON ({error})", "profiles of a run", "Evaluate again into an empty folder.") from error
    found: Profiles = read_tree(Profiles, tree, str(path))
    return dict(vars(found))
