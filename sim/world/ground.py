"""The ground, painted once into one picture per layer that every frame is warped from."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.arrays import Bytes
from sim.world.layout import (
    PARKING_M,
    SIDEWALK_M,
    Block,
    BlockUse,
    LandCover,
    Look,
    Patch,
    Road,
    Soil,
    World,
    parking_bays,
)
from sim.world.lighting import HEAT_LEVELS, radar_level
from sim.world.materials import Material, backscatter_db, heat_at, infrared

Field = NDArray[np.float32]

# Per `Soil`: blue, green, red; heat by day; strength of fine and of coarse grain.
TABLE = np.array(
    [
        [52, 105, 78, 0.30, 0.16, 0.16], [80, 125, 130, 0.38, 0.14, 0.16], [85, 112, 140, 0.52, 0.10, 0.15],
        [98, 96, 94, 0.62, 0.055, 0.08], [165, 172, 175, 0.66, 0.035, 0.07], [150, 155, 160, 0.58, 0.05, 0.06],
        [222, 225, 225, 0.66, 0.04, 0.05], [60, 175, 215, 0.66, 0.04, 0.05], [112, 110, 110, 0.64, 0.06, 0.11],
        [175, 178, 178, 0.60, 0.04, 0.05], [88, 70, 42, 0.16, 0.05, 0.07], [120, 112, 70, 0.20, 0.05, 0.09],
        [140, 178, 198, 0.62, 0.05, 0.08], [48, 118, 84, 0.27, 0.14, 0.10], [92, 168, 188, 0.42, 0.10, 0.09],
        [118, 160, 176, 0.50, 0.10, 0.12], [42, 74, 66, 0.26, 0.22, 0.22], [142, 148, 152, 0.60, 0.10, 0.10],
        [122, 120, 118, 0.64, 0.04, 0.09],
    ]
)  # fmt: skip
OF_SOIL = (
    Material.GRASS, Material.DRY_GRASS, Material.SOIL, Material.ASPHALT, Material.CONCRETE, Material.CONCRETE,
    Material.PAINT, Material.PAINT, Material.ASPHALT, Material.CONCRETE, Material.WATER, Material.WATER,
    Material.SAND, Material.GRASS, Material.DRY_GRASS, Material.DRY_GRASS, Material.LEAF, Material.SOIL,
    Material.ASPHALT,
)  # fmt: skip
COVER_OF_SOIL: Bytes = np.array(
    [
        LandCover.GRASS, LandCover.GRASS, LandCover.BARE, *[LandCover.PAVED] * 7, LandCover.WATER, LandCover.WATER,
        LandCover.BARE, *[LandCover.CROP] * 3, LandCover.GRASS, LandCover.BARE, LandCover.PAVED,
    ],
    dtype=np.uint8,
)  # fmt: skip
ROAD_PAINT = (Soil.WHITE, Soil.YELLOW)
"""A fraction of a millimetre thick: a radar, whose waves are centimetres long, sees what lies below it."""

GREEN = (Soil.GRASS, Soil.CROP, Soil.FOREST_FLOOR)
"""What takes the season's colour."""

WINTER_WHITE = 0.55
"""How far open land is covered with snow in winter."""


@dataclass(frozen=True)
class GroundPicture:
    """A picture of the ground.

    Attributes:
        layers: (S, S, 3) or (S, S) uint8 each; row 0 is north, column 0 is west.
        cover: (S, S) uint8 `LandCover`.
        metres_per_px: size of one pixel.
        half_m: the picture reaches from -half_m to half_m.
    """

    layers: tuple[Bytes, ...]
    cover: Bytes
    metres_per_px: float
    half_m: float

    def from_metres(self) -> NDArray[np.float64]:
        """(3, 3) affine map from (east, north, 1) to (column, row, 1), pixel centres at whole numbers."""
        scale = 1.0 / self.metres_per_px
        offset = self.half_m * scale - 0.5
        return np.array([[scale, 0.0, offset], [0.0, -scale, offset], [0.0, 0.0, 1.0]])


class GroundPainter:
    """Paints materials first, then gives every material its colour and grain."""

    def __init__(self, world: World, look: Look, metres_per_px: float) -> None:
        self.world = world
        self.look = look
        self.scale = 1.0 / metres_per_px
        self.metres_per_px = metres_per_px
        self.size = int(2 * world.half_m * self.scale)
        self.material: Bytes = np.zeros((self.size, self.size), dtype=np.uint8)
        self.wear: Bytes = np.full((self.size, self.size), 128, dtype=np.uint8)
        self.rng = world.rng("ground")

    def paint(self) -> GroundPicture:
        """The finished picture."""
        for block in self.world.blocks:
            self._block(block)
        for patch in self.world.patches:
            self._patch(patch)
        for road in self.world.roads:
            self._carriageway(road, SIDEWALK_M, Soil.DRY_GRASS if self.world.is_rural else Soil.SIDEWALK)
        for road in self.world.roads:
            self._carriageway(road, 0.25, Soil.GRAVEL if self.world.is_rural else Soil.KERB)
        for road in self.world.roads:
            self._carriageway(road, 0.0, Soil.ASPHALT)
        for road in self.world.roads:
            self._wear(road)
            self._markings(road)
        for road in self.world.roads if not self.world.is_rural else ():
            self._crosswalks(road)
        for patch in self.world.patches:
            if patch.is_above_roads:
                self._patch(patch)
        cover = COVER_OF_SOIL[self.material]
        return GroundPicture(self._finish(), cover, self.metres_per_px, self.world.half_m)

    def _patch(self, patch: Patch) -> None:
        outline = np.array([self._pixels(east, north) for east, north in patch.outline_m.tolist()], dtype=np.int32)
        cv2.fillPoly(self.material, [outline], int(patch.soil))

    def _pixels(self, east_m: float, north_m: float) -> tuple[int, int]:
        return round((east_m + self.world.half_m) * self.scale), round((self.world.half_m - north_m) * self.scale)

    def _fill(self, image: Bytes, bounds_m: tuple[float, float, float, float], value: int) -> None:
        if self.look is Look.SAR and image is self.material and value in ROAD_PAINT:
            return
        west, north = self._pixels(bounds_m[0], bounds_m[3])
        east, south = self._pixels(bounds_m[2], bounds_m[1])
        image[max(north, 0) : max(south, 0), max(west, 0) : max(east, 0)] = value

    def _strip(self, road: Road, along_m: tuple[float, float], left_m: tuple[float, float], value: int) -> None:
        a, b = road.place(along_m[0], left_m[0]), road.place(along_m[1], left_m[1])
        bounds = (min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1]))
        self._fill(self.material, bounds, value)

    def _carriageway(self, road: Road, margin_m: float, value: int) -> None:
        reach = road.half_m + margin_m
        self._strip(road, (-self.world.half_m, self.world.half_m), (-reach, reach), value)

    def _block(self, block: Block) -> None:
        rng = self.rng
        base = {
            BlockUse.HOUSES: Soil.GRASS, BlockUse.FLATS: int(rng.choice([Soil.GRASS, Soil.CONCRETE])),
            BlockUse.PARKING: Soil.LOT,
            BlockUse.PARK: Soil.GRASS, BlockUse.PLAZA: int(rng.choice([Soil.CONCRETE, Soil.SIDEWALK, Soil.LOT])),
            BlockUse.FIELD: int(rng.choice([Soil.GRASS, Soil.DRY_GRASS, Soil.SOIL])), BlockUse.MEADOW: Soil.GRASS,
            BlockUse.CROP: int(rng.choice([Soil.CROP, Soil.WHEAT, Soil.STUBBLE, Soil.SOIL, Soil.GRASS])),
            BlockUse.WOOD: Soil.FOREST_FLOOR, BlockUse.YARD: int(rng.choice([Soil.CONCRETE, Soil.LOT])),
            BlockUse.APRON: int(rng.choice([Soil.CONCRETE, Soil.RUNWAY])), BlockUse.BEACH: Soil.SAND,
        }[block.use]  # fmt: skip
        self._fill(self.material, block.bounds_m, base)
        west, south, east, north = block.bounds_m
        if block.use is BlockUse.PARKING:
            self._bays(block)
        if block.use is BlockUse.CROP:
            self._rows(block)
        for _ in range(int((east - west) * (north - south) / 120)):
            drier = int(rng.choice([Soil.DRY_GRASS, Soil.DRY_GRASS, Soil.SOIL]))
            others: dict[int, int] = {Soil.GRASS: drier, Soil.DRY_GRASS: Soil.GRASS, Soil.SOIL: Soil.DRY_GRASS}
            value = others.get(base)
            if value is not None and rng.random() < 0.7:
                self._spot((float(rng.uniform(west, east)), float(rng.uniform(south, north))), block, value)
        if block.use in (BlockUse.HOUSES, BlockUse.PARK, BlockUse.FLATS):
            self._paths(block)
        if block.use in (BlockUse.PLAZA, BlockUse.FLATS) and base in (Soil.CONCRETE, Soil.SIDEWALK):
            self._joints(block)

    def _spot(self, centre_m: tuple[float, float], block: Block, value: int) -> None:
        """A ragged spot of another material, kept inside its block."""
        mask = self._ragged(centre_m, float(self.rng.uniform(0.8, 4.0)))
        west, north = self._pixels(block.bounds_m[0], block.bounds_m[3])
        east, south = self._pixels(block.bounds_m[2], block.bounds_m[1])
        window = self.material[max(north, 0) : max(south, 0), max(west, 0) : max(east, 0)]
        cv2.fillPoly(window, [mask - np.array([max(west, 0), max(north, 0)])], value)

    def _ragged(self, centre_m: tuple[float, float], radius_m: float) -> NDArray[np.int32]:
        angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        rough = self.rng.standard_normal(40)
        smooth = sum(np.roll(rough, shift) for shift in range(5)) / 5
        radius = radius_m * (1 + 0.5 * smooth + 0.07 * rough) * self.scale
        centre = np.array(self._pixels(*centre_m))
        return (centre + np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None]).astype(np.int32)

    def _paths(self, block: Block) -> None:
        west, south, east, north = block.bounds_m
        value = int(self.rng.choice([Soil.CONCRETE, Soil.SOIL, Soil.SIDEWALK]))
        for _ in range(int(self.rng.integers(1, 4))):
            half = float(self.rng.uniform(0.5, 1.5))
            if self.rng.random() < 0.5:
                at = float(self.rng.uniform(west + 2, east))
                self._fill(self.material, (at - half, south, min(at + half, east), north), value)
            else:
                at = float(self.rng.uniform(south + 2, north))
                self._fill(self.material, (west, at - half, east, min(at + half, north)), value)

    def _joints(self, block: Block) -> None:
        west, north = self._pixels(block.bounds_m[0], block.bounds_m[3])
        east, south = self._pixels(block.bounds_m[2], block.bounds_m[1])
        step = int(self.rng.uniform(2.0, 6.0) * self.scale)
        window = self.wear[max(north, 0) : max(south, 0), max(west, 0) : max(east, 0)]
        window[::step] = 104
        window[:, ::step] = 104

    def _rows(self, block: Block) -> None:
        """The rows in which a field was sown, and the tracks of the tractor."""
        west, north = self._pixels(block.bounds_m[0], block.bounds_m[3])
        east, south = self._pixels(block.bounds_m[2], block.bounds_m[1])
        window = self.wear[max(north, 0) : max(south, 0), max(west, 0) : max(east, 0)]
        window = window.T if self.rng.random() < 0.5 else window
        step = max(int(self.rng.uniform(0.6, 1.6) * self.scale), 2)
        for row in range(step // 2):
            window[row::step] = int(self.rng.integers(104, 122))
        track = max(int(18.0 * self.scale), 4)
        for shift in (0, max(int(1.8 * self.scale), 1)):
            window[shift::track] = 92

    def _bays(self, block: Block) -> None:
        for (east, north), _ in parking_bays(block):
            for side in (-1.35, 1.35):
                at = east + side
                self._fill(self.material, (at - 0.07, north - 2.5, at + 0.07, north + 2.5), Soil.WHITE)

    def _wear(self, road: Road) -> None:
        """Tyre tracks, repaired patches, cracks and oil."""
        rng, reach = self.rng, self.world.half_m
        for is_forward in (True, False):
            for lane in range(road.lanes):
                middle = road.lane_offset_m(lane, is_forward)
                for track in (-0.8, 0.8):
                    a, b = road.place(-reach, middle + track), road.place(reach, middle + track)
                    cv2.line(self.wear, self._pixels(*a), self._pixels(*b), 119, max(int(0.5 * self.scale), 1))
                a, b = road.place(-reach, middle), road.place(reach, middle)
                cv2.line(self.wear, self._pixels(*a), self._pixels(*b), 122, max(int(0.4 * self.scale), 1))
        for _ in range(int(reach / 5)):
            at, left = float(rng.uniform(-reach, reach)), float(rng.uniform(-0.8, 0.8)) * road.half_m
            size = rng.uniform(0.4, 2.2, 2)
            a = self._pixels(*road.place(at - size[0], max(left - size[1] / 2, -road.half_m)))
            b = self._pixels(*road.place(at + size[0], min(left + size[1] / 2, road.half_m)))
            cv2.rectangle(self.wear, a, b, int(rng.integers(100, 142)), -1)
        for _ in range(int(reach / 3)):
            self._crack(road)

    def _crack(self, road: Road) -> None:
        rng = self.rng
        start = np.array([rng.uniform(-self.world.half_m, self.world.half_m), rng.uniform(-1, 1) * road.half_m])
        steps = np.cumsum(rng.normal(0, 0.5, (8, 2)) + rng.normal(0, 0.5, 2), axis=0)
        line = np.clip(start + steps, [-1e3, -road.half_m], [1e3, road.half_m])
        points = np.array([self._pixels(*road.place(float(x), float(y))) for x, y in line], dtype=np.int32)
        cv2.polylines(self.wear, [points], False, int(rng.integers(84, 112)), 1)

    def _crossings(self, road: Road) -> list[tuple[float, float]]:
        """Stretches of the road that other roads cross."""
        others = [r for r in self.world.roads if r.is_east_west is not road.is_east_west]
        return sorted((r.offset_m - r.half_m - 1.0, r.offset_m + r.half_m + 1.0) for r in others)

    def _markings(self, road: Road) -> None:
        reach = self.world.half_m
        edges = [-reach, *(e for span in self._crossings(road) for e in span), reach]
        middle = int(self.rng.choice([Soil.WHITE, Soil.YELLOW]))
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            if end - start < 6:
                continue
            if road.lanes > 1:
                self._strip(road, (start, end), (-0.22, -0.08), middle)
                self._strip(road, (start, end), (0.08, 0.22), middle)
                self._dashes(road, (start, end), (-3.3, 3.3), Soil.WHITE)
            else:
                self._dashes(road, (start, end), (0.0,), middle)
            if road.has_parking:
                self._edge_lines(road, (start, end))

    def _dashes(self, road: Road, along_m: tuple[float, float], lefts_m: tuple[float, ...], value: int) -> None:
        for at in np.arange(along_m[0] + 2.5, along_m[1] - 4, 6.0):
            for left in lefts_m:
                self._strip(road, (float(at), float(at) + 3.0), (left - 0.08, left + 0.08), value)

    def _edge_lines(self, road: Road, along_m: tuple[float, float]) -> None:
        for side in (-1.0, 1.0):
            left = side * (road.half_m - PARKING_M)
            self._strip(road, (along_m[0] + 3, along_m[1] - 3), (left - 0.06, left + 0.06), Soil.WHITE)

    def _crosswalks(self, road: Road) -> None:
        for low, high in self._crossings(road):
            for start in (low - 3.0, high + 0.5):
                if self.rng.random() < 0.45:
                    for left in np.arange(-road.half_m + 0.4, road.half_m - 0.4, 1.1):
                        self._strip(road, (start, start + 2.6), (float(left), float(left) + 0.55), Soil.WHITE)

    def _noise(self, cell_m: float) -> Field:
        cells = max(int(2 * self.world.half_m / cell_m), 4)
        small = self.rng.standard_normal((cells, cells)).astype(np.float32)
        noise: Field = np.asarray(cv2.resize(small, (self.size, self.size)), dtype=np.float32)
        return noise

    def _fine_noise(self) -> Field:
        tile = self.rng.standard_normal((700, 700)).astype(np.float32)
        tile += 0.8 * cv2.resize(self.rng.standard_normal((280, 280)).astype(np.float32), (700, 700))
        times = self.size // 700 + 1
        return np.tile(tile, (times, times))[: self.size, : self.size]

    def _finish(self) -> tuple[Bytes, ...]:
        """Every layer of the look, from the same materials, grain and wear."""
        table = self._tinted_table()
        coarse = self._noise(7.0) + 0.7 * self._noise(2.2) + 0.5 * self._noise(0.7)
        fine = self._fine_noise()
        calm = 0.45 if self.look is Look.THERMAL else 1.0
        amount = (table[:, 4:6] * calm).astype(np.float32)
        gain = 1.0 + fine * amount[:, 0][self.material] + coarse * (0.6 * amount[:, 1])[self.material]
        wear = (self.wear.astype(np.float32) - 128.0) * (0.4 / 128.0 if self.look is Look.THERMAL else 1.0 / 128.0)
        gain += cv2.GaussianBlur(wear, (3, 3), 0.7)
        if self.look is Look.THERMAL:
            return (self._heat(table, gain),)
        if self.look is Look.SAR:
            return (self._radar(gain),)
        if self.look is Look.RGB:
            return (self._colour(table[:, :3], gain),)
        materials = np.array(OF_SOIL, dtype=np.int64)
        return self._colour(table[:, :3], gain), self._colour(infrared(table[:, :3], materials), gain)

    def _tinted_table(self) -> NDArray[np.float64]:
        """The table of soils as this world has them: season, age of the roads, a little chance."""
        table = TABLE.copy()
        table[:, :3] *= self.rng.normal(1.0, 0.07, (len(table), 1))
        for soil in GREEN:
            table[soil, :3] = np.array(self.world.season_bgr) * TABLE[soil, :3].mean() / TABLE[Soil.GRASS, :3].mean()
        table[Soil.GRASS, :3] = self.world.season_bgr
        if self.world.is_snowy:
            open_land = [s for s in Soil if COVER_OF_SOIL[s] in (LandCover.GRASS, LandCover.CROP, LandCover.BARE)]
            snow = np.array([238.0, 232.0, 228.0])
            table[open_land, :3] += (snow - table[open_land, :3]) * WINTER_WHITE
        is_cool_road = self.rng.random() < 0.2
        shift = self.rng.normal(0.0, 0.05, len(table))
        is_hard = COVER_OF_SOIL == LandCover.PAVED
        by_day = np.where(is_cool_road & is_hard, 0.85 - table[:, 3], table[:, 3]) + shift
        by_day = heat_at(by_day, np.array(OF_SOIL, dtype=np.int64), self.world.sun.night)
        table[:, 3] = np.clip(by_day, 0.08, 0.85)
        return table

    def _colour(self, bands: NDArray[np.float64], gain: Field) -> Bytes:
        picture = np.empty((self.size, self.size, 3), dtype=np.uint8)
        for channel in range(3):
            plane = bands[:, channel].astype(np.float32)[self.material] * gain
            picture[:, :, channel] = np.clip(plane, 0, 255)
        self._dust(picture, np.array([150.0, 160.0, 168.0]))
        return np.asarray(cv2.GaussianBlur(picture, (3, 3), 0.6), dtype=np.uint8)

    def _heat(self, table: NDArray[np.float64], gain: Field) -> Bytes:
        """Heat flows: edges are soft, and the ground has wide warm and cold zones."""
        plane = (table[:, 3] * 0.96 * HEAT_LEVELS).astype(np.float32)[self.material] * gain
        plane += 9.0 * self._noise(18.0) + 4.0 * self._noise(4.0)
        picture: Bytes = np.clip(plane, 4, 250).astype(np.uint8)
        self._dust(picture, np.array([150.0]))
        return np.asarray(cv2.GaussianBlur(picture, (5, 5), 1.1), dtype=np.uint8)

    def _radar(self, gain: Field) -> Bytes:
        """Roughness is texture to a radar: the same grain, in dB."""
        levels = radar_level(backscatter_db(np.array(OF_SOIL, dtype=np.int64))).astype(np.float32)
        plane = levels[self.material] + 60.0 * (gain - 1.0)
        return np.clip(plane, 0, 255).astype(np.uint8)

    def _dust(self, picture: Bytes, colour: NDArray[np.float64]) -> None:
        """Ragged pale halos around rubble."""
        for stain in self.world.stains:
            reach = int(stain.radius_m * self.scale * 1.4)
            column, row = self._pixels(*stain.centre_m)
            if min(column, row) < reach or max(column, row) >= self.size - reach:
                continue
            window = picture[row - reach : row + reach, column - reach : column + reach]
            mask = np.zeros((2 * reach, 2 * reach), dtype=np.uint8)
            outline = self._ragged(stain.centre_m, stain.radius_m * 0.8) - np.array([column - reach, row - reach])
            cv2.fillPoly(mask, [outline], 255.0)
            soft = cv2.GaussianBlur(mask, (0, 0), reach / 7).astype(np.float32) / 255.0
            grain = self.rng.uniform(0.25, 0.85, (2 * reach // 3 + 1,) * 2).astype(np.float32)
            soft *= cv2.resize(grain, (2 * reach, 2 * reach), interpolation=cv2.INTER_LINEAR)
            soft = soft if picture.ndim == 2 else soft[:, :, None]
            blended = window * (1 - soft) + colour.astype(np.float32) * soft
            window[:] = blended.astype(np.uint8)


def paint_ground(world: World, look: Look, metres_per_px: float = 0.1) -> GroundPicture:
    """The ground of a world in one look."""
    return GroundPainter(world, look, metres_per_px).paint()
