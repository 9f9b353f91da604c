"""The convolutional network behind the bundled teacher and student: one shape, two widths.

A plain 3x3 Conv-BN-ReLU residual backbone and a top-down FPN that ends on one stride-4 grid. No attention, LayerNorm
or HardSwish, which break INT8/FP16 in TensorRT. Four separate outputs, so that quantization gives each its own range.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.recipe import NetworkConfig
from edge.bundle import PIXEL_MEAN

STRIDE_PX = 4
"""Output cell size in input pixels: half of the 8-10 px sides of HIT-UAV's smallest persons."""

PIXEL_SCALE = 64.0
"""Normalisation inside the graph where a network has no statistics of its own: (pixel - 114) / 64, the same for every
band, so gray equals replicated RGB."""


STEM = "stem.0.weight"
"""The tensor that depends on the bands, as `state_dict` names it."""


class Outputs(NamedTuple):
    """Raw maps of one forward pass, (N, channels, H/4, W/4) float32.

    Attributes:
        embedding: (N, D, h, w), not normalised.
        objectness: (N, 1, h, w) logits: "some object is centred here", whatever its kind.
        box_ltrb: (N, 4, h, w) natural logarithms of the distances left, top, right, bottom in cells of 4 px.
        class_logits: (N, C, h, w) logits, one independent sigmoid per known label.
    """

    embedding: Tensor
    objectness: Tensor
    box_ltrb: Tensor
    class_logits: Tensor


def conv_bn_relu(channels_in: int, channels_out: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """A convolution without bias, its batch normalisation (folded at export) and a ReLU."""
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two 3x3 convolutions with an identity shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv_bn_relu(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """The input plus its residual, rectified; same shape as the input."""
        return functional.relu(x + self.second(self.first(x)))


def _stage(channels_in: int, channels_out: int, blocks: int) -> nn.Sequential:
    residuals = [Residual(channels_out) for _ in range(blocks)]
    return nn.Sequential(conv_bn_relu(channels_in, channels_out, stride=2), *residuals)


class SkyNet(nn.Module):
    """Backbone, FPN and the four heads."""

    def __init__(self, config: NetworkConfig, classes: int) -> None:
        super().__init__()
        self.config = config
        widths = [w for w in config.widths if w]
        self.stem = conv_bn_relu(len(config.bands), widths[0], stride=2)
        pairs = zip(widths, widths[1:], config.blocks, strict=False)
        self.stages = nn.ModuleList(_stage(a, b, n) for a, b, n in pairs)
        self.laterals = nn.ModuleList(nn.Conv2d(w, config.neck, 1) for w in widths[1:])
        self.detect = conv_bn_relu(config.neck, config.neck)
        self.describe = conv_bn_relu(config.neck, config.neck)
        self.objectness = nn.Conv2d(config.neck, 1, 1)
        self.box_ltrb = nn.Conv2d(config.neck, 4, 1)
        self.class_logits = nn.Conv2d(config.neck, classes, 1)
        self.embedding = nn.Conv2d(config.neck, config.embedding_dim, 1)
        for head in (self.objectness, self.class_logits):
            nn.init.constant_(head.bias, -4.0)  # type: ignore[arg-type]  # objects are rare: start near p = 0.02

    def forward(self, image: Tensor) -> Outputs:
        """Raw output maps for (N, bands, H, W) float32 normalised images, H and W multiples of 32."""
        x, levels = self.stem(image), []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        top = self.laterals[-1](levels[-1])
        for lateral, level in zip(list(self.laterals)[-2::-1], levels[-2::-1], strict=True):
            top = functional.interpolate(top, scale_factor=2.0, mode="nearest") + lateral(level)
        top = functional.relu(top)
        detect, describe = self.detect(top), self.describe(top)
        return Outputs(
            self.embedding(describe),
            self.objectness(detect),
            self.box_ltrb(detect),
            self.class_logits(detect),
        )


def normalise(images: Tensor, config: NetworkConfig) -> Tensor:
    """(N, H, W, bands) uint8 as (N, bands, H, W) float32 normalised, in channels-last memory."""
    planes = images.permute(0, 3, 1, 2).float()
    if not config.band_mean:
        return (planes - PIXEL_MEAN) / PIXEL_SCALE
    mean, deviation = (torch.tensor(v)[:, None, None] for v in (config.band_mean, config.band_deviation))
    return (planes - mean) / deviation
