import hashlib

from cloud.store import CaseStore
from protocols import Case, FrameHeader, new_case_id
from sim.watch import CloudWatch

PICTURE = b"picture"


def case() -> Case:
    return Case(
        case_id=new_case_id(),
        frame=FrameHeader(index=0, source_id="flight", captured_at_s=1.0, width=640, height=512),
        region_xyxy=(0, 0, 640, 512),
        hardness=0.5,
        space_id="space-0001",
        variant="fp32",
        media_type="image/jpeg",
        payload_bytes=len(PICTURE),
        payload_sha256=hashlib.sha256(PICTURE).hexdigest(),
    )


def keep(data, craft: str, count: int) -> None:
    """What a cloud does between two starts of it."""
    store = CaseStore(data)
    store.add_cases([(craft, case(), PICTURE) for _ in range(count)])
    store.close()


def test_cases_are_counted_over_every_start_of_the_cloud(tmp_path):
    keep(tmp_path, "a", 3)
    with CloudWatch(tmp_path) as watch:
        watch.poll()
        assert watch.cases == 3
        keep(tmp_path, "b", 2)
        watch.poll()
    assert (watch.cases, watch.cases_of) == (5, {"a": 3, "b": 2})


def test_a_cloud_without_a_store_yet_has_no_cases(tmp_path):
    with CloudWatch(tmp_path) as watch:
        watch.poll()
    assert watch.cases == 0
    assert list(tmp_path.iterdir()) == []


def test_the_store_is_asked_only_when_it_changed(tmp_path, monkeypatch):
    keep(tmp_path, "a", 1)
    asked = []
    count = CaseStore.count_cases
    monkeypatch.setattr(CaseStore, "count_cases", lambda store: asked.append(1) or count(store))
    with CloudWatch(tmp_path) as watch:
        for _ in range(5):
            watch.poll()
    assert asked == [1]
