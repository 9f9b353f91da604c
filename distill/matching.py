"""The matching head: from the maps of a frozen network and the pixels, where in an image a thing of another image is.

Every cell has a fingerprint: the frozen embedding, turned by a linear map, and a little of its own from the pixels. An
exemplar is the fingerprints at eleven places in and around its box; a frame is compared with it by nothing but cosines,
each laid where its part of the thing would be, as correlation trackers do with whole maps (SiamRPN++,
arXiv:1812.11703); cosines alone cannot learn a class. A few convolutions over these cosines say how well each cell
matches and how large the thing is there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.network import STRIDE_PX, Outputs, Residual, conv_bn_relu

_INSIDE = tuple((x / 3, y / 3) for y in (-1, 0, 1) for x in (-1, 0, 1))
_AROUND = ((-0.9, 0.0), (0.9, 0.0), (0.0, -0.9), (0.0, 0.9))
"""Places in sides of the box from its middle: a grid in it, and what is beside it."""

PARTS = len(_INSIDE) + 2
"""Fingerprints of an exemplar: the grid, its mean, and the mean of what is around."""

_PLANES = len(_INSIDE) + 4 + 4 + 2
"""Cosines of the grid, of their mean, of the whole and of what is around; objectness; told box; sides."""


class Exemplars(NamedTuple):
    """What to look for in each of N images.

    Attributes:
        parts: (N, K, 11, C) unit vectors.
        sides: (N, K, 2) width and height in cells.
    """

    parts: Tensor
    sides: Tensor


class Matches(NamedTuple):
    """Where it is.

    Attributes:
        logits: (N, K, h, w).
        box_ltrb: (N, K, 4, h, w) log distances in cells, as in `Outputs`.
    """

    logits: Tensor
    box_ltrb: Tensor


class MatchHead(nn.Module):
    """Encoder and comparison."""

    def __init__(self, embedding_dim: int, own: int = 24, planes: int = 16) -> None:
        """Make one for a network's embedding.

        Args:
            embedding_dim: of the network whose maps it reads.
            own: numbers that the pixels add to a fingerprint.
            planes: channels of the comparison.

        Attributes:
            fingerprint: length of one.
        """
        super().__init__()
        self.fingerprint = embedding_dim + own
        self.turn = nn.Conv2d(embedding_dim, embedding_dim, 1, bias=False)
        nn.init.dirac_(self.turn.weight)  # begin with the embedding as it is
        self.pixels = nn.Sequential(conv_bn_relu(3, own // 2, 2), conv_bn_relu(own // 2, own, 2))
        self.mix = nn.Sequential(conv_bn_relu(own + embedding_dim + 1, own, kernel=1), Residual(own))
        self.own = nn.Conv2d(own, own, 1, bias=False)
        self.compare = nn.Sequential(conv_bn_relu(_PLANES, planes), Residual(planes))
        self.answer = nn.Conv2d(planes, 6, 1)
        self.log_sharpness = nn.Parameter(torch.tensor(2.3))
        # Begin with the grid's mean cosine, which by itself ranks places twice as well as that of the pooled box, with
        # nothing of the pixels' own, and boxes between the exemplar's size and what the network tells.
        self.answer.bias = nn.Parameter(torch.tensor([-11.0, 0, 0, 0, 0, 0]))
        nn.init.trunc_normal_(self.answer.weight, std=0.01)
        nn.init.zeros_(self.own.weight)

    def describe(self, image: Tensor, maps: Outputs) -> Tensor:
        """(N, C, h, w) unit fingerprints of normalised images and what the frozen network says about them."""
        embedding = functional.normalize(maps.embedding, dim=1)
        mixed = self.mix(torch.cat([self.pixels(image), embedding, maps.objectness.sigmoid()], dim=1))
        return functional.normalize(torch.cat([self.turn(embedding), 0.5 * torch.tanh(self.own(mixed))], dim=1), dim=1)

    def exemplars(self, prints: Tensor, boxes: Tensor) -> Exemplars:
        """What to look for.

        Args:
            prints: (N, C, h, w) of the images that show it.
            boxes: (N, K, 4) corners in cells.
        """
        middles, sides = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
        points = middles[:, :, None] + torch.tensor(_INSIDE + _AROUND) * sides[:, :, None]
        found = _sampled(prints, points, "border").permute(0, 2, 3, 1)
        inside, around = found[:, :, : len(_INSIDE)], found[:, :, len(_INSIDE) :]
        parts = torch.cat([inside, inside.mean(dim=2, keepdim=True), around.mean(dim=2, keepdim=True)], dim=2)
        return Exemplars(functional.normalize(parts, dim=3), sides)

    def forward(self, prints: Tensor, maps: Outputs, what: Exemplars) -> Matches:
        """Where things are in images with these fingerprints and maps."""
        height, width, grid = prints.shape[2], prints.shape[3], len(_INSIDE)
        cosines = torch.einsum("nkpc,nchw->nkphw", what.parts, prints)
        beside = cosines[:, :, -1:].expand(-1, -1, len(_AROUND), -1, -1)
        laid = _laid(torch.cat([cosines[:, :, :grid], beside], dim=2), what.sides)
        half = (what.sides / 2).clamp(min=0.5).log()
        halves = torch.cat([half, half], dim=2)[..., None, None].expand(-1, -1, -1, height, width)
        told = maps.box_ltrb[:, None].expand_as(halves)
        likeness = laid[:, :, :grid].mean(dim=2, keepdim=True)
        planes = [
            laid[:, :, :grid],
            likeness,
            laid[:, :, grid:].mean(dim=2, keepdim=True),
            cosines[:, :, -2:-1],
            maps.objectness.sigmoid()[:, None].expand(-1, what.sides.shape[1], -1, -1, -1),
            told - halves,
            halves[:, :, :2],
        ]
        answer = self.answer(self.compare(torch.cat(planes, dim=2).flatten(0, 1)))
        answer = answer.reshape(*what.sides.shape[:2], 6, height, width)
        trust = answer[:, :, 1:2].sigmoid()
        logits = answer[:, :, 0] + self.log_sharpness.exp() * likeness[:, :, 0]
        return Matches(logits, trust * told + (1 - trust) * halves + answer[:, :, 2:])


def _laid(maps: Tensor, sides: Tensor) -> Tensor:
    """(N, K, 13, h, w) maps, each read where its part of the thing would be, were that centred here; 0 beyond."""
    height, width = maps.shape[3], maps.shape[4]
    y, x = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    cells = torch.stack([x[None].expand(height, -1), y[:, None].expand(-1, width)], dim=-1)
    offsets = torch.tensor(_INSIDE + _AROUND) * sides[:, :, None]
    points = (cells + offsets[:, :, :, None, None]).flatten(0, 2)
    return _sampled(maps.reshape(-1, 1, height, width), points, "zeros").reshape(maps.shape)


def _sampled(maps: Tensor, points: Tensor, beyond: str) -> Tensor:
    """(N, C, a, b) bilinear values of (N, C, h, w) maps at (N, a, b, 2) points x, y in cells from the edges."""
    shares = torch.stack([points[..., 0] / maps.shape[3], points[..., 1] / maps.shape[2]], dim=-1)
    return functional.grid_sample(maps, shares * 2 - 1, "bilinear", beyond, align_corners=False)


def in_cells(boxes_xyxy: Tensor) -> Tensor:
    """Boxes in pixels as boxes in cells."""
    return boxes_xyxy / STRIDE_PX
