"""What a network takes its bands by: statistics for their normalisation, and weights from a network of other bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distill.dataset import DataSet
from distill.recipe import NetworkConfig, Recipe
from edge.bundle import BGR
from edge.raster import RasterImage
from edge.student import as_bands

if TYPE_CHECKING:
    from torch import Tensor

_MOST_IMAGES = 256
"""Of each set, evenly spaced: the mean of 256 images strays by a sixteenth of how much images differ."""

_EVERY_PX, _OVERVIEW_PX = 4, 4096


def with_band_statistics(recipe: Recipe, sets: Sequence[DataSet], relatives: Sequence[NetworkConfig]) -> Recipe:
    """The recipe with the mean and deviation of its bands.

    What it names itself stays, and so does the fixed normalisation of blue, green, red. Other bands take those of the
    first relative that has the same ones, since its weights or answers are made for them, else they are measured.

    Args:
        recipe: of the run.
        sets: its training sets, in the order of its sources.
        relatives: the networks it learns or starts from.
    """
    network = recipe.network
    if network.bands == BGR or network.band_mean:
        return recipe
    alike = next((other for other in relatives if other.bands == network.bands and other.band_mean), None)
    if alike:
        mean, deviation = alike.band_mean, alike.band_deviation
    else:
        mean, deviation = band_statistics(sets, [source.weight for source in recipe.sources])
    changed = network.model_copy(update={"band_mean": mean, "band_deviation": deviation})
    return recipe.model_copy(update={"network": changed})


def band_statistics(sets: Sequence[DataSet], weights: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each band's pixels over some sets, to 0.01; a deviation is at least 1.

    Args:
        sets: which all read the same bands.
        weights: of the sets.
    """
    moments = np.stack([_moments(data) for data in sets])
    mean, square = np.average(moments, axis=0, weights=np.asarray(weights))
    deviation = np.sqrt(np.maximum(square - mean**2, 1.0))
    return tuple(round(float(v), 2) for v in mean), tuple(round(float(v), 2) for v in deviation)


def _moments(data: DataSet) -> NDArray[np.float64]:
    """(2, bands) mean of the pixels and of their squares."""
    found = []
    for index in np.unique(np.linspace(0, len(data) - 1, _MOST_IMAGES).astype(int)):
        picture = data.picture(int(index))
        image = picture.overview(_OVERVIEW_PX) if isinstance(picture, RasterImage) else picture
        pixels = as_bands(image, data.reading.bands)[::_EVERY_PX, ::_EVERY_PX].astype(np.float64)
        found.append([pixels.mean(axis=(0, 1)), (pixels**2).mean(axis=(0, 1))])
    return np.asarray(np.mean(found, axis=0))


def adapted_stem(weight: Tensor, given: tuple[str, ...], wanted: tuple[str, ...]) -> Tensor:
    """The first convolution's weight for other bands.

    A band that both networks know by name keeps its filters; another takes their mean over the given bands, as temporal
    networks take those of RGB (Wang et al. 2016, "Temporal Segment Networks", arXiv:1608.00859, cross-modality
    pre-training). All are scaled by the given count over the wanted one, so that a picture that is alike in all bands
    still gives what it gave (as Carreira and Zisserman 2017, arXiv:1705.07750, divide what they repeat); exactly so
    where the networks share none or all of the given bands.

    Args:
        weight: (width, given bands, 3, 3).
        given: names of the bands it is for.
        wanted: names of the bands it is to be for.
    """
    import torch

    mean = weight.mean(dim=1)
    filters = [weight[:, given.index(name)] if name in given else mean for name in wanted]
    return torch.stack(filters, dim=1) * (len(given) / len(wanted))
