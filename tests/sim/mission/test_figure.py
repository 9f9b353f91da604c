import cv2

from sim.mission import draw_mission


def test_figure_is_a_picture_with_one_row_a_craft(tmp_path, flown):
    draw_mission(flown, tmp_path / "mission.png")
    image = cv2.imread(str(tmp_path / "mission.png"))
    height, width = image.shape[:2]
    assert width > 1000
    assert height > 1000
    assert image.std() > 10
