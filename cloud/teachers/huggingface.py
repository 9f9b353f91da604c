"""Foundation models from local folders as a teacher: open-vocabulary boxes, dense features, masks from boxes.

A TOML file names up to three folders that `transformers` can load; nothing is ever fetched from a hub. Tried with
small random models of DINOv2, DINOv3, ViT-MAE and backbones of DINOv2 and ResNet for features, OWLv2 and Grounding DINO
for boxes, OWLv2 for exemplars, SAM and SAM 2 for masks. torch and transformers are imported when a teacher of this kind
is opened, not before.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cloud.errors import TeacherError
from cloud.teachers.finding import best_places, check_chips, find_by_features
from cloud.teachers.pictures import Preparation, preparation_of
from cloud.teachers.teacher import Exemplar, Places, TeacherAnswer
from edge.config import Settings, read_toml
from edge.errors import ConfigError
from edge.student import as_bgr
from protocols.arrays import FloatArray, ImageArray
from protocols.boxes import clip_boxes

_STRETCHED = ("sam2", "sam2_video")
_QUERY_MARGIN = 0.1
"""Of a box's sides: what a detector that is shown a picture sees around the thing."""

_FREE_PATCH_PX = 32
"""Images are scaled to multiples of this for a backbone, whatever its patches: most halve them five times."""

_INSTALL = "pip install -c constraints.txt '.[huggingface]'"


class FoundationSettings(Settings):
    """Which models make up the teacher.

    Attributes:
        labels: what it can name.
        words: what the detector is asked for instead of a label, e.g. `{ Debris = "pile of rubble" }`.
        detector: folder of a zero-shot object detector; without one the teacher finds nothing by itself.
        features: folder of a vision backbone; without one there are no dense features.
        masks: folder of a promptable segmenter; without one there are no masks.
        score_floor: least score of a detection.
        device: where the models run.
    """

    labels: tuple[str, ...] = Field(min_length=1, max_length=1000)
    words: dict[str, str] = Field(default={})
    detector: Path | None = None
    features: Path | None = None
    masks: Path | None = None
    score_floor: float = Field(default=0.25, ge=0, le=1)
    device: Literal["cpu", "cuda"] = "cpu"


class FoundationTeacher:
    """Up to three models of `transformers` as one teacher."""

    def __init__(self, file: Path) -> None:
        """Load what a file names; folders are relative to it.

        Raises:
            TeacherError: torch or transformers are not installed, or a folder is missing or does not load.
        """
        try:
            self._settings = read_toml(file, FoundationSettings)
        except ConfigError as exc:
            raise TeacherError(str(exc)) from exc
        self._torch, self._library = _libraries()
        self.labels = self._settings.labels
        self.name = f"{file.stem}/transformers"[:128]
        folders = (self._settings.detector, self._settings.features, self._settings.masks)
        found = [None if folder is None else _checked(file.parent / folder) for folder in folders]
        self._detector = self._load(found[0], "AutoProcessor", "AutoModelForZeroShotObjectDetection")
        self._features = self._load(found[1], None, _backbone_class(self._library, found[1]))
        self._masks = self._load(found[2], "AutoProcessor", "AutoModelForMaskGeneration")
        self.space = "none" if found[1] is None else _digest(found[1])

    def interpret(self, frames: Sequence[ImageArray]) -> list[TeacherAnswer]:
        """One answer for each image; see `Teacher`."""
        if self._detector is None:
            nothing = TeacherAnswer(np.zeros((0, 4), np.float32), (), np.zeros(0, np.float32))
            return [nothing for _ in frames]
        return [self._interpret(frame) for frame in frames]

    def dense_features(self, frames: Sequence[ImageArray]) -> FloatArray:
        """(N, D, h, w) features of the last layer of images of one size; see `Teacher`.

        Images are scaled to whole patches; a model that was trained for one size alone sees them at that size.
        """
        preparation, model = self._given(self._features, "features")
        if len({frame.shape[:2] for frame in frames}) > 1:
            raise TeacherError("dense features need images of one size; give them one by one")
        maps = [self._map_of(preparation, model, frame) for frame in frames]
        return np.stack(maps) if maps else np.zeros((0, int(getattr(model.config, "hidden_size", 0)), 0, 0), np.float32)

    def find(self, chips: Sequence[Exemplar], frames: Sequence[ImageArray]) -> list[Places]:
        """Where things are that look like the chips; see `Teacher`.

        By the detector where it can be shown a picture (OWLv2), else by features.
        """
        check_chips(chips)
        if self._detector is not None and hasattr(self._detector[1], "image_guided_detection"):
            return [self._guided(chips, frame) for frame in frames]
        if self._features is None:
            raise TeacherError(
                f'{self.name}: cannot look for exemplars; name a folder as features = "..." in its file, or a detector '
                "that can be shown a picture, such as OWLv2"
            )
        return find_by_features(self.dense_features, chips, frames)

    def masks(self, frame: ImageArray, boxes_xyxy: FloatArray) -> NDArray[np.bool_]:
        """(N, H, W) which pixels belong to the thing in each of (N, 4) boxes.

        Raises:
            TeacherError: the teacher has no segmenter, or it fails.
        """
        processor, model = self._given(self._masks, "masks")
        height, width = frame.shape[:2]
        if not len(boxes_xyxy):
            return np.zeros((0, height, width), np.bool_)
        if isinstance(processor, Preparation):
            return self._stretched_masks(processor, model, frame, boxes_xyxy)
        inputs = processor(images=_rgb(frame), input_boxes=[boxes_xyxy.astype(float).tolist()], return_tensors="pt")
        outputs = self._run(model, {**inputs, "multimask_output": False})
        sizes = [inputs[key] for key in ("original_sizes", "reshaped_input_sizes") if key in inputs]
        masks = processor.post_process_masks(outputs.pred_masks.cpu(), *sizes)[0]
        return np.asarray(masks[:, 0].numpy(), dtype=np.bool_)

    def _stretched_masks(
        self,
        preparation: Preparation,
        model: Any,  # noqa: ANN401 - transformers publishes no types
        frame: ImageArray,
        boxes_xyxy: FloatArray,
    ) -> NDArray[np.bool_]:
        """Masks of a model that sees every image as a square of one size, as SAM 2 does."""
        height, width = frame.shape[:2]
        side = int(model.config.prompt_encoder_config.image_size)
        scale = np.array([side / width, side / height] * 2, np.float32)
        given = {
            "pixel_values": self._torch.from_numpy(preparation.tensor(frame, side, side)),
            "input_boxes": self._torch.from_numpy(np.asarray(boxes_xyxy * scale, dtype=np.float32)[None]),
            "multimask_output": False,
        }
        logits = self._run(model, given).pred_masks[0, :, 0].float().cpu().numpy()
        return np.stack([cv2.resize(item, (width, height), interpolation=cv2.INTER_LINEAR) > 0 for item in logits])

    def _interpret(self, frame: ImageArray) -> TeacherAnswer:
        processor, model = self._detector
        height, width = frame.shape[:2]
        asked = [self._settings.words.get(label, label.lower()) for label in self.labels]
        inputs = processor(text=[asked], images=[_rgb(frame)], return_tensors="pt")
        outputs = self._run(model, inputs)
        floor, after = self._settings.score_floor, processor.post_process_grounded_object_detection
        extra = {"input_ids": inputs["input_ids"]} if "input_ids" in inspect.signature(after).parameters else {}
        (found,) = after(outputs, target_sizes=[(height, width)], threshold=floor, text_labels=[asked], **extra)
        scores = found["scores"].cpu().numpy().astype(np.float32)
        boxes = clip_boxes(found["boxes"].cpu().numpy().astype(np.float32), width, height)
        named = [_asked_for(phrase, asked) for phrase in found["text_labels"]]
        rows = [row for row in np.argsort(-scores, kind="stable").tolist() if named[row] is not None]
        labels = tuple(self.labels[named[row] or 0] for row in rows)
        boxes = boxes[rows].reshape(-1, 4)
        masks = self.masks(frame, boxes) if self._masks is not None else None
        return TeacherAnswer(boxes, labels, scores[rows], masks)

    def _guided(self, chips: Sequence[Exemplar], frame: ImageArray) -> Places:
        """What a detector finds that is shown the chips, one after the other."""
        processor, model = self._detector
        boxes, scores = [], []
        for chip in chips:
            inputs = processor(images=[_rgb(frame)], query_images=[_rgb(_close_up(chip))], return_tensors="pt")
            outputs = self._run(model.image_guided_detection, inputs)
            # The library's own last step for this gives the best place 1.0, whether the thing is there or not.
            plain = SimpleNamespace(logits=outputs.logits, pred_boxes=outputs.target_pred_boxes)
            (found,) = processor.post_process_grounded_object_detection(
                plain, target_sizes=[frame.shape[:2]], threshold=0.0
            )
            boxes.append(found["boxes"].cpu().numpy().astype(np.float32))
            scores.append(found["scores"].cpu().numpy().astype(np.float32))
        return best_places(np.concatenate(boxes), np.concatenate(scores), (frame.shape[0], frame.shape[1]))

    def _map_of(self, preparation: Preparation, model: Any, frame: ImageArray) -> FloatArray:  # noqa: ANN401
        """(D, h, w) of one image."""
        if hasattr(model, "out_features"):  # a backbone: maps as they are
            sides = [max(round(side / _FREE_PATCH_PX), 1) * _FREE_PATCH_PX for side in frame.shape[:2]]
            picture = self._torch.from_numpy(preparation.tensor(frame, sides[0], sides[1]))
            maps = self._run(model, {"pixel_values": picture}).feature_maps
            return np.asarray(maps[-1][0].float().cpu().numpy(), dtype=np.float32)
        patch, parameters = int(model.config.patch_size), inspect.signature(model.forward).parameters
        is_free = "interpolate_pos_encoding" in parameters or "dinov3" in model.config.model_type
        sides = [max(round(side / patch), 1) * patch if is_free else _fixed(model) for side in frame.shape[:2]]
        given: dict[str, Any] = {"pixel_values": self._torch.from_numpy(preparation.tensor(frame, sides[0], sides[1]))}
        if "interpolate_pos_encoding" in parameters:
            given["interpolate_pos_encoding"] = True
        grid = (sides[0] // patch, sides[1] // patch)
        # A masked autoencoder: hide and shuffle nothing.
        if getattr(model.config, "mask_ratio", 0) or "noise" in parameters:
            model.config.mask_ratio = 0.0
            given["noise"] = self._torch.arange(grid[0] * grid[1])[None].float()
        tokens = self._run(model, given).last_hidden_state[0].float().cpu().numpy()
        # What comes before the patches are class and register tokens.
        return np.asarray(tokens[-grid[0] * grid[1] :].T.reshape(-1, *grid), dtype=np.float32)

    def _run(self, model: Any, given: Mapping[str, Any]) -> Any:  # noqa: ANN401 - transformers publishes no types
        """The outputs of a model, or of one of its methods."""
        accepted = inspect.signature(getattr(model, "forward", model)).parameters
        device = self._settings.device
        moved = {k: v.to(device) if hasattr(v, "to") else v for k, v in given.items() if k in accepted}
        try:
            with self._torch.no_grad():
                return model(**moved)
        except (RuntimeError, ValueError) as exc:
            what = getattr(model, "__qualname__", type(model).__name__)
            raise TeacherError(f"{self.name}: {what} failed ({str(exc)[:200]})") from exc

    def _given(self, pair: Any, what: str) -> Any:  # noqa: ANN401 - processor and model
        if pair is None:
            raise TeacherError(f'{self.name}: has no {what}; name a folder as {what} = "..." in its file')
        return pair

    def _load(self, folder: Path | None, processor: str | None, model: str) -> Any:  # noqa: ANN401 - processor and model
        """Both of a folder; None for the processor is our own preparation."""
        if folder is None:
            return None
        from safetensors import SafetensorError  # comes with transformers

        try:
            opened = getattr(self._library, model).from_pretrained(str(folder), local_files_only=True)
            if processor is None or opened.config.model_type in _STRETCHED:
                return self._preparation(folder), opened.eval().to(self._settings.device)
            read = getattr(self._library, processor).from_pretrained(str(folder), local_files_only=True)
            return read, opened.eval().to(self._settings.device)
        except (OSError, ValueError, RuntimeError, ImportError, KeyError, SafetensorError) as exc:
            raise _does_not_load(folder, model, exc) from exc

    def _preparation(self, folder: Path) -> Preparation:
        told, _ = self._library.ImageProcessingMixin.get_image_processor_dict(str(folder), local_files_only=True)
        try:
            return preparation_of(told)
        except TeacherError as exc:
            raise TeacherError(f"{folder}: {exc}") from exc


def _libraries() -> tuple[Any, Any]:
    try:
        import torch
        import transformers
    except ImportError as exc:
        raise TeacherError(f"this teacher needs torch and transformers ({exc}); install them: {_INSTALL}") from exc
    return torch, transformers


def _does_not_load(folder: Path, what: str, error: Exception) -> TeacherError:
    reason = " ".join(str(error).split())[:300]
    return TeacherError(f"{folder}: {what} does not load ({reason}); save the model there again, or copy all its files")


def _backbone_class(library: Any, folder: Path | None) -> str:  # noqa: ANN401 - transformers publishes no types
    """Which of its classes opens a folder of features: one that was saved as a backbone has no other part."""
    if folder is None:
        return "AutoModel"
    try:
        saved, _ = library.PretrainedConfig.get_config_dict(str(folder), local_files_only=True)
    except (OSError, ValueError) as exc:
        raise _does_not_load(folder, "config.json", exc) from exc
    backbones = [name for name in saved.get("architectures") or () if name.endswith("Backbone")]
    return backbones[0] if backbones and hasattr(library, backbones[0]) else "AutoModel"


def _close_up(chip: Exemplar) -> ImageArray:
    """The part of a chip around the thing."""
    height, width = chip.image.shape[:2]
    margin = np.tile((chip.box_xyxy[2:] - chip.box_xyxy[:2]) * _QUERY_MARGIN, 2) * np.array([-1, -1, 1, 1], np.float32)
    (box,) = clip_boxes((chip.box_xyxy + margin)[None], width, height)
    x1, y1, x2, y2 = (int(v) for v in (*np.floor(box[:2]), *np.ceil(box[2:])))
    return np.ascontiguousarray(chip.image[y1:y2, x1:x2])


def _digest(folder: Path) -> str:
    """32 hex digits of a model's configuration and weights, so that features of other weights are never mixed."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.iterdir() if p.suffix in (".json", ".safetensors", ".bin")):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:32]


def _checked(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise TeacherError(f"{folder}: holds no config.json; save a model there with save_pretrained, or copy one")
    return folder


def _rgb(frame: ImageArray) -> ImageArray:
    return np.ascontiguousarray(as_bgr(frame)[..., ::-1])


def _fixed(model: Any) -> int:  # noqa: ANN401
    side = model.config.image_size
    return int(side if isinstance(side, int) else side[0])


def _asked_for(phrase: str, asked: Sequence[str]) -> int | None:
    """Which of the words asked for a detector's phrase repeats; some answer with a part of the whole question."""
    if phrase in asked:
        return asked.index(phrase)
    return next((number for number, words in enumerate(asked) if words and words in phrase), None)
