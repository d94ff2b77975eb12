"""What looks wrong in the events of a training: units, and numbers that a network learns badly from."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from hitpool.data.dataset import EventDataset
from hitpool.data.features import PointFields
from hitpool.data.magnitudes import COORDINATES, OF_COORDINATES, OF_HITS, OF_TRACKS, coordinates, doubtful_columns

SAMPLE = 200
IN_METRES = {"mm": 1e3, "cm": 1e2, "cm times 0.001": 0.1, "m times 0.001": 1e-3}
INPUT = 0.01, 100.0  # root mean square of an input that is of order one
SPREAD = 1e-4, 1e3  # standard deviation of a target


def doubts(dataset: EventDataset) -> list[str]:
    """Looks at all targets, and at the inputs of up to 200 random events.

    Args:
        dataset: Training events.

    Returns:
        A line for each kind of doubt, which names columns or fields.

    Raises:
        ValueError: If the hits are bad; names file, event and field.
    """
    hits = dataset.sample_hits(SAMPLE)
    of_hits = [*_columns(dataset, hits), *_scales(dataset, hits)] if len(hits) else []
    none_kept = dataset.num_hits_on_disk.any() and not dataset.num_hits.any()
    of_filter = ["the hit filter (data.hit_eval_train) keeps no hit of any training event"] if none_kept else []
    return [*of_filter, *of_hits, *_targets(dataset)]


def _columns(dataset: EventDataset, hits: np.ndarray) -> list[str]:
    """Units of the columns that are used, unless their scale factors make up for them."""
    features = dataset.features
    names = [features.columns[column] for column in features.used_columns]
    factors = dict(zip(features.fields, features.scale.tolist(), strict=True))
    scale = np.array([factors.get(name, 1.0) for name in names])
    rms, largest = _measures(hits[:, features.used_columns])  # [columns] each
    doubtful = doubtful_columns(names, rms, largest, OF_HITS)
    still = doubtful_columns(names, rms * np.abs(scale), largest * np.abs(scale), OF_HITS)
    return [f"hit column {name}: {text}" for name, text in doubtful.items() if name in still]


def _scales(dataset: EventDataset, hits: np.ndarray) -> list[str]:
    """Scale of the coordinates of all points; of the inputs that do not depend on them, if that is wrong."""
    features = dataset.features
    reach: dict[str, float] = {}  # largest coordinates in m
    for point in features.points:
        assert isinstance(point, PointFields)
        columns = point.index.tolist()
        scaled = np.abs(hits[:, columns] * point.scale.numpy()).max(0).tolist()
        reach |= zip((features.columns[column] for column in columns), scaled, strict=True)
    known, _ = coordinates(list(reach)) or (list(COORDINATES.values())[-1], [])
    known = replace(known, unit="m", low=known.low / 1e3, high=known.high / 1e3, others=IN_METRES)
    text = known.doubt(max(reach.values(), default=0.0), OF_COORDINATES)
    lines = [f"hit columns {', '.join(reach)} times data.scale_factors: {text}"] if text else []

    most = float(np.finfo(np.float32).max)
    values = np.nan_to_num(features(torch.from_numpy(hits)).numpy(), nan=most, posinf=most, neginf=-most)
    rms, _ = _measures(values)  # [F]
    far = [
        f"{name} is {size:.2g} (try data.scale_factors.{name} {factor * 10.0 ** -round(math.log10(size)):.1g})"
        for name, size, factor in zip(features.fields, rms.tolist(), features.scale.tolist(), strict=True)
        if size and not INPUT[0] <= size <= INPUT[1] and (not text or (name in features.columns and name not in reach))
    ]
    if far:
        lines.append(f"inputs far from order one, root mean square after scaling: {', '.join(far)}")
    return lines


def _targets(dataset: EventDataset) -> list[str]:
    values = {name: column.double().numpy() for name, column in dataset.particle_values().items()}
    if not len(next(iter(values.values()))):
        return []
    doubtful = doubtful_columns(list(values), *_measures(np.stack(list(values.values()), axis=1)), OF_TRACKS)
    lines = [f"target {name}: {text}" for name, text in doubtful.items()]
    for name, own in values.items():
        spread = own.std()
        if name not in doubtful and len(own) > 1 and not SPREAD[0] <= spread <= SPREAD[1]:
            expected = f"expected {SPREAD[0]:g} to {SPREAD[1]:g}; give it another unit, or leave it out of data.targets"
            lines.append(f"target {name}: the standard deviation is {spread:.4g} (mean {own.mean():.4g}), {expected}")
    return lines


def _measures(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square and largest absolute value of columns [n, K], n > 0."""
    values = np.abs(values.astype(np.float64))
    return np.sqrt(np.square(values).mean(0)), values.max(0)
