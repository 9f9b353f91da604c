import pytest

from sim.bench_follow import FollowBench, bench_follow
from sim.display import Display
from sim.errors import OptionError


def test_targets_of_the_made_up_video_are_followed_and_timed():
    result = bench_follow(FollowBench(counts=(1, 3), frames=25, threads=1), Display())
    assert list(result["targets"]) == ["1", "3"]
    for row in result["targets"].values():
        assert row["followed"] > 0.9
        assert row["fps"] > 0
    assert result["targets"]["1"]["fps"] > result["targets"]["3"]["fps"]


@pytest.mark.parametrize("options", [FollowBench(counts=(0,)), FollowBench(counts=(99,)), FollowBench(frames=3)])
def test_numbers_that_cannot_be_measured_are_refused_with_a_cure(options):
    with pytest.raises(OptionError, match=r"want|take more"):
        bench_follow(options, Display())
