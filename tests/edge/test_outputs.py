import numpy as np

from edge import outputs
from edge.capture import Frame
from edge.outputs import RunOutputs
from protocols.values import FrameHeader


def frame(index: int) -> Frame:
    header = FrameHeader(index=index, source_id="flight", captured_at_s=1.0, width=32, height=32)
    return Frame(header, np.zeros((32, 32, 3), np.uint8), captured_s=0.0)


def test_lines_are_on_disk_while_the_run_goes_on(tmp_path, monkeypatch):
    path = tmp_path / "detections.jsonl"
    with RunOutputs(tmp_path, fps=10, video=False) as out:
        out.write(frame(0), (), {})
        assert path.read_text() == ""
        monkeypatch.setattr(outputs, "_FLUSH_S", 0.0)
        out.write(frame(1), (), {})
        assert len(path.read_text().splitlines()) == 2
