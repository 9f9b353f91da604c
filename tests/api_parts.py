"""An API over a store with a few cases, for the API's tests."""

import asyncio
import functools
import hashlib
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
from builders import make_case
from fastapi import FastAPI
from fastapi.testclient import TestClient

from cloud.accounts import Doorman
from cloud.api import add_api
from cloud.backend import Backend
from cloud.config import CloudSettings
from cloud.http import HttpServer, listen
from edge.clock import SystemClock
from protocols.imagery import encode_image
from protocols.values import Detection, FrameHeader, Interpretation, Pose, Prompt, Vectors

REGION = (100, 60, 260, 188)
POSE = Pose(lat_deg=47.0, lon_deg=8.0, altitude_m=500.0, yaw_deg=0.0, pitch_deg=-90.0, roll_deg=0.0, gsd_m=0.5)


def case_of(*, pose=POSE, payload=None, **changes):
    """A case of a region of a 640x512 frame with a car in it, and its imagery."""
    payload = payload or encode_image(np.full((128, 160, 3), 90, np.uint8), "image/png")
    frame = FrameHeader(index=7, source_id="cam", captured_at_s=9.0, width=640, height=512, pose=pose)
    fields = {"region_xyxy": REGION, "frame": frame, "media_type": "image/png", "reasons": {"doubt": 0.5}}
    fields["detections"] = (Detection(box_xyxy=(200, 100, 230, 120), label="Car", score=0.6),)
    return make_case(payload, payload_sha256=hashlib.sha256(payload).hexdigest(), **fields | changes), payload


def prompt_of(prompt_id, case_id):
    vectors = Vectors.from_array(np.eye(2, 8, dtype=np.float32))
    what = {"prompt_id": prompt_id, "label": "debris", "space_id": "space", "variant": "fp32", "origin": "person"}
    shape = {"positives": vectors, "negatives": vectors, "threshold": 0.5, "issued_at_s": 1.0, "confidence": 1.0}
    return Prompt(**what, **shape, case_id=case_id)


def keep_case(store, craft="uav", *, label="Debris", answered=True, **changes):
    """Keep a case, answered by the teacher unless told otherwise; returns it."""
    case, payload = case_of(**changes)
    assert store.add_cases([(craft, case, payload)]) == ["stored"]
    if answered:
        thing = Detection(box_xyxy=(110, 70, 150, 90), label=label, score=0.4, provenance="cloud")
        told = {"confidence": 0.4, "by": "teacher", "interpreter": "t", "made_at_s": time.time()}
        store.add_interpretation(craft, Interpretation(case_id=case.case_id, detections=(thing,), **told))
        store.set_case_state(craft, case.case_id, "unsure", "low score", 0.4)
    return case


@functools.cache
def _apps():
    """The API below an app of its own; made once, for describing itself takes it longer than most tests."""
    app = FastAPI()
    app.state.backend = app.state.doorman = None
    return app, add_api(app)


def service_of(store):
    """The API on a store, what it knows of connected craft, and how often the service was woken. One at a time."""
    live, woken = {}, []
    backend = Backend(store, CloudSettings(), SystemClock(), live=lambda: live, wake=lambda: woken.append(1))
    for app in _apps():
        app.state.backend, app.state.doorman = backend, Doorman(store, backend.clock.monotonic_s)
    return SimpleNamespace(app=_apps()[0], live=live, woken=woken, backend=backend)


def client_for(service, role):
    """A client of the API with a token of a role; None has none."""
    headers, store = {}, service.backend.store
    if role is not None:
        name = f"{role}-{len(store.tokens())}"
        headers["Authorization"] = f"Bearer {store.add_token(name, role, time.time(), 3600)}"
    return TestClient(service.app, base_url="http://testserver/api/v1", headers=headers)


@contextmanager
def served(app):
    """The address of an app behind a real socket."""
    with listen("127.0.0.1:0") as http_socket:
        server = HttpServer(app, CloudSettings().web)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[http_socket])))
        thread.start()
        try:
            yield f"http://127.0.0.1:{http_socket.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
