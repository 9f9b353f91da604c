"""A store, a twin and painted cases for the cloud's tests."""

import hashlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import structlog
from gateway_peers import Cloud, Peer

from cloud.backend import Backend
from cloud.config import CloudSettings
from cloud.metrics import CloudMetrics
from cloud.prompt_desk import PromptDesk
from cloud.store import CaseStore
from cloud.teachers import TeacherAnswer
from cloud.twins import Twins
from edge.bank import BankStore
from edge.clock import SystemClock
from edge.keys import KeyPair, new_keys
from edge.link import HelloProfile, Link, LinkSettings
from edge.spool import Spool
from edge.student import Student
from protocols import Case, FrameHeader, encode_image, new_case_id

CRAFT_KEY = "c" * 40
GREEN, BLUE, RED = (60, 220, 60), (220, 90, 60), (40, 40, 230)


class FixedClock:
    def monotonic_s(self):
        return 50.0

    def wall_s(self):
        return 1000.0


class MovingClock(FixedClock):
    """Moves when it is told to."""

    def __init__(self):
        self.now_s = 1000.0

    def monotonic_s(self):
        return self.now_s

    def advance(self, seconds):
        self.now_s += seconds


@pytest.fixture
def fake_clock():
    return MovingClock()


class FakeTeacher:
    """Names what is painted green `debris`; raises what it is told to."""

    name, space, labels = "fake", "fake-space", ("debris", "Red")

    def __init__(self):
        self.batches, self.error, self.score = [], None, 0.9

    def interpret(self, frames):
        self.batches.append(len(frames))
        if self.error:
            raise self.error
        return [self._answer(frame) for frame in frames]

    def _answer(self, frame):
        mask = (frame[:, :, 1].astype(int) - frame[:, :, 0] > 80).astype(np.uint8)
        boxes = [cv2.boundingRect(c) for c in cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]]
        xyxy = np.array([(x, y, x + w, y + h) for x, y, w, h in boxes], np.float32).reshape(-1, 4)
        return TeacherAnswer(xyxy, ("debris",) * len(boxes), np.full(len(boxes), self.score, np.float32))

    def dense_features(self, frames):
        return np.zeros((len(frames), 1, 1, 1), np.float32)


def paint(*spots, size=(160, 160)):
    """A black picture with 16 px squares; each spot is (x, y, colour) of its centre."""
    image = np.zeros((*size, 3), np.uint8)
    for x, y, colour in spots:
        image[y - 8 : y + 8, x - 8 : x + 8] = colour
    return image


def box_at(*centres):
    return np.array([(x - 8, y - 8, x + 8, y + 8) for x, y in centres], np.float32).reshape(-1, 4)


def make_case(image, space_id="0123456789abcdef", origin=(0, 0), payload=None, **changes):
    payload = encode_image(image, "image/png") if payload is None else payload
    height, width = image.shape[:2]
    fields = {
        "case_id": new_case_id(),
        "frame": FrameHeader(index=0, source_id="test", captured_at_s=1.0, width=640, height=512),
        "region_xyxy": (origin[0], origin[1], origin[0] + width, origin[1] + height),
        "hardness": 0.5,
        "space_id": space_id,
        "variant": "fp32",
        "media_type": "image/png",
        "payload_bytes": len(payload),
        "payload_sha256": hashlib.sha256(payload).hexdigest(),
    }
    return Case(**{**fields, **changes}), payload


@pytest.fixture
def painting():
    return SimpleNamespace(paint=paint, box_at=box_at, make_case=make_case, GREEN=GREEN, BLUE=BLUE, RED=RED)


@pytest.fixture
def open_store(tmp_path):
    store = CaseStore(tmp_path / "data")
    store.enroll("uav", CRAFT_KEY)
    yield store
    store.close()


@pytest.fixture
def backend(open_store):
    """A service's store without the service."""
    return Backend(open_store, CloudSettings(), SystemClock(), live=dict, wake=lambda: None)


@pytest.fixture
def twin(tiny_bundle):
    return Student.open(tiny_bundle, threads=1)


@pytest.fixture
def desk(open_store, tiny_bundle):
    return PromptDesk(open_store, Twins([tiny_bundle.folder], threads=1), CloudSettings().prompts, FixedClock())


@pytest.fixture
def teacher():
    return FakeTeacher()


@pytest.fixture
def metrics():
    return CloudMetrics()


@pytest.fixture(autouse=True)
def _fresh_logging():
    """A command line run in this process points the log at a stderr that is gone after its test."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def cloud(tmp_path):
    store = CaseStore(tmp_path / "data")
    cloud = Cloud(store, new_keys(tmp_path / "cloud-keys", "cloud"))
    cloud.start()
    yield cloud
    cloud.close()
    store.close()


@pytest.fixture
def keys_of(cloud, tmp_path):
    """Keys of a craft, enrolled under its name."""

    def make(name, enrolled=True):
        keys = new_keys(tmp_path / f"keys-{name}", "edge")
        if enrolled:
            cloud.store.enroll(name, keys.public.decode())
        return keys

    return make


@pytest.fixture
def connect(cloud, keys_of):
    """A peer with the keys of a craft."""
    peers = []

    def make(name_or_keys, **options):
        keys = name_or_keys if isinstance(name_or_keys, KeyPair) else keys_of(name_or_keys)
        peer = Peer(cloud.endpoint, keys, cloud.keys.public, **options)
        peers.append(peer)
        return peer

    yield make
    for peer in peers:
        peer.close()


@pytest.fixture
def fly(cloud, tmp_path):
    """A whole edge link with its spool and bank."""
    links = []

    def make(keys):
        settings = LinkSettings(endpoint=cloud.endpoint, retry_first_s=0.05, retry_most_s=0.2)
        spool, bank, answers = Spool(tmp_path / "spool"), BankStore(tmp_path / "bank"), []
        profile = HelloProfile("space", "fp32", ("Car",))
        link = Link(settings, keys, cloud.keys.public, spool, bank, profile, on_interpretation=answers.append)
        links.append(link)
        link.start()
        return link, spool, bank, answers

    yield make
    assert all(link.close() for link in links)


# --- the loop ---
