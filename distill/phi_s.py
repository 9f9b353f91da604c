"""PHI-S: a teacher's features turned and scaled so that every channel has variance 1, their angles untouched.

PCA, then a Hadamard rotation, then one scale for all channels (Ranzinger et al., "PHI-S: Distribution Balancing for
Label-Free Multi-Teacher Distillation", arXiv:2410.01680): y = H U^T (x - mean) / sqrt(mean eigenvalue), with the
eigenvectors U of the covariance. All entries of a Hadamard matrix of order n are +-1/sqrt(n), so that each channel gets
the same part of every principal component, and with it the same variance. Scaling each channel by its own deviation
would do that too, but would bend the angles between features, which are what a student is to keep.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from distill.errors import TrainingError
from distill.files import write_whole

FILE_NAME = "phi_s.safetensors"

_CELLS_PER_CHANNEL = 16
"""Then a covariance's eigenvalues are off by a factor of 1.6 (Marchenko and Pastur: 1 + sqrt(1/16), squared); those of
backbones differ by thousands."""


@dataclass(frozen=True)
class PhiS:
    """One estimated standardization of features of D channels to C >= D channels.

    Attributes:
        mean: (D,) float32.
        rotation: (C, D) float32 with orthonormal columns.
        scale: () float32, the same for all channels.
    """

    mean: Tensor
    rotation: Tensor
    scale: Tensor

    @property
    def channels(self) -> int:
        """How many channels C come out."""
        return int(self.rotation.shape[0])

    def normalise(self, features: Tensor) -> Tensor:
        """(N, C, h, w) float32 of (N, D, h, w)."""
        centred = features.permute(0, 2, 3, 1) - self.mean
        return (centred @ (self.scale * self.rotation).T).permute(0, 3, 1, 2)

    def restore(self, normalised: Tensor) -> Tensor:
        """(N, D, h, w) float32: `normalise` undone."""
        turned = normalised.permute(0, 2, 3, 1) @ (self.rotation / self.scale)
        return (turned + self.mean).permute(0, 3, 1, 2)


def estimate(maps: Iterable[Tensor], least_maps: int) -> PhiS:
    """The standardization of a teacher's features, from as many of its maps as that takes.

    Args:
        maps: (N, D, h, w) each, as many as are asked for.
        least_maps: so many are used at least, more if their cells are few for D.

    Raises:
        TrainingError: the features are the same everywhere.
    """
    cells, total, products = 0, torch.zeros(1), torch.zeros(1)
    for number, features in enumerate(maps, 1):
        rows = features.permute(0, 2, 3, 1).flatten(0, 2).double()
        cells, total, products = cells + len(rows), total + rows.sum(dim=0), products + rows.T @ rows
        if number >= least_maps and cells >= _CELLS_PER_CHANNEL * rows.shape[1]:
            break
    mean = total / cells
    return from_moments(mean, products / cells - torch.outer(mean, mean))


def from_moments(mean: Tensor, covariance: Tensor) -> PhiS:
    """The standardization of features with a (D,) mean and a (D, D) covariance, both float64.

    D without a Hadamard matrix is filled up with channels of zeros to the next one that has one.

    Raises:
        TrainingError: the features are the same everywhere.
    """
    variances, vectors = torch.linalg.eigh(covariance)
    order = next(n for n in count(len(mean)) if is_order(n))
    rotation = hadamard(order)[:, : len(mean)] @ vectors.T
    variance = float(variances.clamp(min=0.0).sum()) / order
    if variance <= 1e-12 * float((mean**2).sum()) / order:
        raise TrainingError("the teacher's features are the same everywhere and teach nothing; choose another")
    return PhiS(mean.float(), rotation.float(), torch.tensor(variance**-0.5))


def is_order(n: int) -> bool:
    """Whether `hadamard` can make a matrix of an order."""
    return _core(n) is not None


def hadamard(n: int) -> Tensor:
    """(n, n) float64 orthogonal matrix whose entries are all +-1/sqrt(n), for an `is_order`.

    Paley's first construction for a prime p = 3 mod 4 (order p + 1), doubled by Sylvester's as often as it takes: that
    covers powers of two and the widths of published backbones, 384, 768, 1152, 1280, 1408 among them.
    """
    core = _core(n)
    assert core is not None
    matrix = torch.ones(1, 1, dtype=torch.float64) if core == 1 else _paley(core - 1)
    while len(matrix) < n:
        matrix = torch.cat([torch.cat([matrix, matrix], dim=1), torch.cat([matrix, -matrix], dim=1)])
    matrix /= n**0.5
    return matrix


def _core(n: int) -> int | None:
    """The order that Sylvester's doubling begins with to reach n."""
    if n & (n - 1) == 0:
        return 1
    while n % 4 == 0:
        if _is_prime(n - 1):
            return n
        n //= 2
    return None


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))


def _paley(p: int) -> Tensor:
    """I + S, S skew: borders of ones around the matrix of whether i - j is a square modulo p."""
    squares = {k * k % p for k in range(1, p)}
    character = torch.tensor([0.0] + [1.0 if k in squares else -1.0 for k in range(1, p)], dtype=torch.float64)
    index = torch.arange(p)
    matrix = torch.ones(p + 1, p + 1, dtype=torch.float64)
    matrix[1:, 0] = -1.0
    matrix[1:, 1:] = character[(index[:, None] - index) % p] + torch.eye(p, dtype=torch.float64)
    return matrix


def save_phi_s(path: Path, phi_s: PhiS, teacher: str) -> None:
    """Keep a standardization with the name of the features it is of.

    Raises:
        DistillError: the disk is full.
    """
    tensors = {"mean": phi_s.mean, "rotation": phi_s.rotation.contiguous(), "scale": phi_s.scale}
    write_whole(path, save(tensors, {"teacher": teacher}))


def load_phi_s(path: Path, teacher: str) -> PhiS:
    """A kept standardization.

    Raises:
        TrainingError: it is missing, damaged, or of another teacher than `teacher`.
    """
    cure = f"delete {path.parent} to train from the start"
    try:
        with safe_open(path, "pt") as file:
            kept = (file.metadata() or {}).get("teacher")
            phi_s = PhiS(*(file.get_tensor(name) for name in ("mean", "rotation", "scale")))
    except (OSError, SafetensorError) as exc:
        raise TrainingError(f"{path}: no readable scales of the teacher's features ({exc}); {cure}") from exc
    if kept != teacher:
        raise TrainingError(f"{path}: is of teacher {kept}, the recipe's is now {teacher}; bring it back, or {cure}")
    return phi_s
