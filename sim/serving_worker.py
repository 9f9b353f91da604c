"""LitServe's end of the serving benchmark: `python serving_worker.py JSON`, in the peers' own environment.

LitServe and what it asks for come from there; our teacher and its libraries are found behind them, so that it runs the
very code and file that ours runs. The settings are LitServe's own, chosen well (docs/serving.md).
"""

from __future__ import annotations

import base64
import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_IS_SERVING = __name__ in ("__main__", "__mp_main__")
"""LitServe's workers begin as processes of their own, which import this file under the second name."""

_litserve: Any = importlib.import_module("litserve") if _IS_SERVING else SimpleNamespace(LitAPI=object)


class TeacherApi(_litserve.LitAPI):  # type: ignore[misc]
    """Our teacher as LitServe wants a model."""

    told: dict[str, Any]

    def setup(self, device: str) -> None:
        """Open it, in the worker's process."""
        _find_ours(self.told["paths"])
        self.cv2, self.numpy = (importlib.import_module(name) for name in ("cv2", "numpy"))
        self.cv2.setNumThreads(1)
        teachers: Any = importlib.import_module("cloud.teachers")
        self.teacher = teachers.open_teacher(self.told["bundle"], threads=self.told["threads"])

    # Without annotations: LitServe makes a schema of those of these two, and JSON of any shape is wanted.
    def decode_request(self, request):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """The picture of a request."""
        data = self.numpy.frombuffer(base64.b64decode(request["image"]), self.numpy.uint8)
        return self.cv2.imdecode(data, self.cv2.IMREAD_COLOR)

    def batch(self, inputs: list[Any]) -> list[Any]:
        """Nothing: a teacher takes a list."""
        return inputs

    def predict(self, images: Any) -> list[Any]:  # noqa: ANN401 - a picture alone where batches are of one
        """Answers to a batch."""
        return list(self.teacher.interpret(images if isinstance(images, list) else [images]))

    def unbatch(self, output: list[Any]) -> list[Any]:
        """Nothing: it answers with a list."""
        return output

    def encode_response(self, output):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        """An answer as JSON."""
        answer = output[0] if isinstance(output, list) else output
        boxes, scores = answer.boxes_xyxy.tolist(), answer.scores.tolist()
        return {"boxes": boxes, "labels": list(answer.labels), "scores": scores}


def _find_ours(paths: list[str]) -> None:
    sys.path += [path for path in paths if Path(path).is_dir() and path not in sys.path]


def main() -> None:
    """Serve until ended. Argument: JSON with `paths`, `bundle`, `threads`, `port`, and LitServe's settings."""
    told = json.loads(sys.argv[1])
    api = TeacherApi(max_batch_size=told["max_batch"], batch_timeout=told["batch_timeout_s"])
    api.told = told
    server = _litserve.LitServer(
        api, accelerator="cpu", devices=1, workers_per_device=1, timeout=60, fast_queue=told["fast_queue"]
    )
    server.run(host="127.0.0.1", port=told["port"], log_level="error", generate_client_file=False)


if __name__ == "__main__":
    main()
