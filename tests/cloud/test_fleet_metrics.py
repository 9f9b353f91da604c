"""What /metrics tells of craft, by a real server with a real craft, read by Prometheus's own parser."""

import urllib.request
from contextlib import closing

import numpy as np
import pytest
from api_parts import keep_case, prompt_of
from gateway_peers import until
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from server_process import arguments_of, serving_process

from cloud.agreement import case_agreement, sample_of
from cloud.errors import StoreError
from cloud.fleet_metrics import MAX_CRAFT, OTHERS, FleetCollector
from cloud.gateway_settings import CraftLive
from cloud.store import CaseStore
from edge.bank import BankStore
from edge.clock import SystemClock
from edge.keys import EDGE_NAME, new_keys
from edge.link import HelloProfile, Link, LinkSettings
from edge.spool import Spool
from protocols.imagery import encode_image
from protocols.values import BankRef, Detection, Interpretation


class Clock:
    def wall_s(self):
        return 1000.0


@pytest.fixture
def store(tmp_path):
    opened = CaseStore(tmp_path / "data")
    opened.enroll("uav", "u" * 40)
    yield opened
    opened.close()


def collected(store, live):
    registry = CollectorRegistry()
    registry.register(FleetCollector(lambda: live, store, Clock()))
    return registry


def test_craft_are_told_one_by_one(store):
    bank = store.bank("uav")
    prompts = (prompt_of("p", None),)
    store.save_bank("uav", bank.model_copy(update={"revision": 1, "prompts": prompts}))
    held = BankRef(epoch=bank.epoch, revision=0, digest=bank.digest)
    live = {"uav": CraftLive(is_online=True, heard_s=990.0, bytes_received=7, bytes_sent=5, bank=held, spool_bytes=3)}
    value = collected(store, live).get_sample_value
    assert value("skyloop_craft_bytes_total", {"craft": "uav", "direction": "edge_to_cloud"}) == 7
    assert value("skyloop_craft_prompt_revision", {"craft": "uav", "which": "issued"}) == 1
    assert value("skyloop_craft_prompt_revision", {"craft": "uav", "which": "held"}) == 0
    assert value("skyloop_craft_online", {"craft": "uav"}) == 1
    assert value("skyloop_craft_heard_age_seconds", {"craft": "uav"}) == 10
    assert value("skyloop_craft_spool_bytes", {"craft": "uav"}) == 3


def test_series_stay_bounded_whatever_the_fleet(store):
    live = {f"craft-{number:05}": CraftLive(bytes_received=1) for number in range(MAX_CRAFT + 500)}
    registry = collected(store, live)
    families = {family.name: family for family in registry.collect()}
    assert len(families["skyloop_craft_bytes"].samples) == 2 * MAX_CRAFT + 2
    assert len(families["skyloop_craft_online"].samples) == MAX_CRAFT
    labels = {"craft": OTHERS, "direction": "edge_to_cloud"}
    assert registry.get_sample_value("skyloop_craft_bytes_total", labels) == 500


def test_store_that_fails_costs_no_more_than_its_own_series(store, monkeypatch):
    def fails(*_):
        raise StoreError("disk")

    monkeypatch.setattr(store, "bank_refs", fails)
    names = [family.name for family in collected(store, {"uav": CraftLive()}).collect()]
    assert "skyloop_craft_online" in names
    assert "skyloop_craft_prompt_revision" not in names


def found(label, *box):
    return Detection(box_xyxy=box, label=label, score=0.5)


def test_agreement_counts_what_the_teacher_was_shown(store):
    case = keep_case(store)  # the craft found a car, and sent a region with it
    told = {"case_id": case.case_id, "confidence": 0.5, "by": "teacher", "interpreter": "t", "made_at_s": 2.0}
    same, other = found("Car", 200, 100, 230, 120), found("Debris", 110, 70, 150, 90)
    assert case_agreement(case, Interpretation(detections=(same,), **told)) == 1.0
    assert case_agreement(case, Interpretation(detections=(same, other), **told)) == pytest.approx(2 / 3)
    assert case_agreement(case, Interpretation(detections=(), **told)) == 0.0
    outside = case.model_copy(update={"detections": (same, found("Car", 400, 300, 420, 320))})
    assert case_agreement(outside, Interpretation(detections=(same,), **told)) == 1.0
    nothing = case.model_copy(update={"detections": ()})
    assert case_agreement(nothing, Interpretation(detections=(), **told)) == 1.0
    assert sample_of(case) == "hard"
    assert sample_of(case.model_copy(update={"reasons": {"audit": 1.0}})) == "audit"


def scraped(http):
    text = urllib.request.urlopen(f"http://{http}/metrics", timeout=5).read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_running_service_tells_of_its_craft(tmp_path, tiny_bundle, painting):
    keys = new_keys(tmp_path / "edge", EDGE_NAME)
    cloud_keys = new_keys(tmp_path / "data" / "keys", "cloud")
    with closing(CaseStore(tmp_path / "data")) as opened:
        opened.enroll("uav", keys.public.decode())
    picture = painting.paint((50, 50, painting.GREEN))
    case, payload = painting.make_case(picture, payload=encode_image(np.asarray(picture), "image/png"))
    spool = Spool(tmp_path / "spool")
    spool.put(case.model_copy(update={"reasons": {"audit": 1.0}}), payload, SystemClock().wall_s())
    arguments = arguments_of(tmp_path / "data", tiny_bundle.folder)
    profile = HelloProfile(tiny_bundle.manifest.space_id, "fp32", tiny_bundle.manifest.labels)
    settings = LinkSettings(endpoint=arguments["--bind"], retry_most_s=1.0)
    answers = []
    with serving_process(arguments):
        bank = BankStore(tmp_path / "bank")
        link = Link(settings, keys, cloud_keys.public, spool, bank, profile, on_interpretation=answers.append)
        link.start()
        try:
            until(lambda: answers, 60)
            count = ("skyloop_agreement_count", (("sample", "audit"),))
            told = until(lambda: (found := scraped(arguments["--http"])).get(count) and found)
        finally:
            link.close()
    uav = ("craft", "uav")
    assert told["skyloop_craft_online", (uav,)] == 1
    assert told["skyloop_craft_bytes_total", (uav, ("direction", "edge_to_cloud"))] > len(payload)
    assert told["skyloop_craft_result_age_seconds", (uav,)] < 60
    assert told["skyloop_craft_prompt_revision", (uav, ("which", "issued"))] >= 0
    assert told["skyloop_queue_delay_seconds_count", ()] == 1
    assert told["skyloop_batch_size_sum", ()] == 1
    assert told["skyloop_cases_kept", ()] >= 0
    assert told["skyloop_retention_over", (("bound", "cases"),)] == 0
