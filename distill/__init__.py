"""Teacher to student: data sets, losses, training, export, quantization, evaluation, bundles.

Reading order: `recipe.py`, `network.py`, `augment.py`, `batches.py`, `objectives.py`, `train.py`, then `export.py`,
`quantize.py`, `bundle.py` and `evaluate.py`; for the head that finds things again `pairs.py`, `matching.py`,
`match_training.py` and `match_export.py`. Importing this package does not import torch.
"""

from __future__ import annotations

from distill.dataset import DataSet, LabelledImage, read_data_set
from distill.evaluate import coco_scores, evaluate
from distill.recipe import Recipe, Workspace

__all__ = ["DataSet", "LabelledImage", "Recipe", "Workspace", "coco_scores", "evaluate", "read_data_set"]
