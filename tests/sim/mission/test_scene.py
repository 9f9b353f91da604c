import numpy as np

from sim.mission.scene import PLAIN, draw_captures
from sim.mission.settings import CameraSettings, CloudSettings, SceneSettings

CAMERA = CameraSettings(capture_every_s=1.0, focal_length_m=1.0, pixel_pitch_m=1e-6, case_bytes=50_000)
SCENE = SceneSettings(strange_share=0.25, kinds=5)


def draw(count=20_000, keys=(1, 0)):
    return draw_captures(count, keys, SCENE, CAMERA, CloudSettings(teacher_s=(5, 15), person_share=0.1))


def test_captures_have_the_documented_distributions():
    drawn = draw()
    kind, hardness = np.array(drawn.kind), np.array(drawn.hardness)
    assert abs((kind != PLAIN).mean() - 0.25) < 0.01
    assert abs(hardness[kind != PLAIN].mean() - 6 / 8) < 0.01
    assert abs(hardness[kind == PLAIN].mean() - 1.5 / 11.5) < 0.01
    assert abs(np.median(drawn.payload_bytes) / 50_000 - 1) < 0.02
    counts = np.bincount(kind[kind != PLAIN], minlength=5)
    np.testing.assert_allclose(counts / counts.sum(), (1 / np.arange(1, 6)) / (1 / np.arange(1, 6)).sum(), atol=0.02)


def test_plain_captures_stay_as_they_are_when_prompts_come():
    drawn = draw(1000)
    same = [a == b for a, b, kind in zip(drawn.hardness, drawn.explained_hardness, drawn.kind, strict=True) if kind < 0]
    assert all(same)


def test_person_takes_longer():
    drawn = draw()
    answer, person = np.array(drawn.answer_s), np.array(drawn.is_person)
    assert answer[~person].max() <= 15
    assert answer[person].min() >= 5 + 120


def test_streams_differ_by_seed_and_by_craft():
    assert draw(50) == draw(50)
    assert len({tuple(draw(50, keys).hardness) for keys in [(1, 0), (2, 0), (1, 1)]}) == 3
