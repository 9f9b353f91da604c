import pytest
import torch

from distill.checkpoints import read_checkpoint, save_checkpoint
from distill.errors import TrainingError


def test_checkpoint_comes_back(tmp_path):
    assert read_checkpoint(tmp_path) is None
    save_checkpoint(tmp_path, {"recipe": "{}", "step": 7})
    assert read_checkpoint(tmp_path) == {"recipe": "{}", "step": 7}


@pytest.mark.parametrize("size", [0, 100, 500])
def test_damaged_checkpoint_is_refused(tmp_path, size):
    save_checkpoint(tmp_path, {"recipe": "{}", "weights": torch.zeros(100)})
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(TrainingError, match=r"checkpoint\.pt: damaged; delete it"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [{"step": 7}, torch.zeros(3)], ids=["no-recipe", "tensor"])
def test_file_of_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(TrainingError, match="is no checkpoint of a run"):
        read_checkpoint(tmp_path)
