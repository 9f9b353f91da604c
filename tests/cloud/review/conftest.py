"""A console without a service, and people before it."""

from dataclasses import replace

import pytest
from builders import make_case
from console_people import PASSWORD, ROLES, Person
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from cloud.accounts import hash_password
from cloud.config import CloudSettings
from cloud.http import create_app
from protocols.imagery import encode_image


@pytest.fixture(scope="session")
def password_hash():
    return hash_password(PASSWORD)


@pytest.fixture
def console(backend, tiny_bundle, password_hash):
    """Of whom a test wants to be: a browser that is logged in."""
    settings = CloudSettings(students=(tiny_bundle.folder,))
    app = create_app(replace(backend, settings=settings), CollectorRegistry(), lambda: "")
    clients = []

    def enter(name=None):
        if name and backend.store.user(name) is None:
            backend.store.add_user(name, password_hash, ROLES[name], 1.0)
        client = TestClient(app)
        clients.append(client)
        return Person(client, name) if name else client

    yield enter
    app.state.review_desk.close()
    for client in clients:
        client.close()


@pytest.fixture
def seen_case(open_store, painting):
    """A case of uav: a green and a blue thing in a picture at (100, 40)."""
    picture = painting.paint((50, 50, painting.GREEN), (110, 50, painting.BLUE))
    case, payload = painting.make_case(picture, origin=(100, 40))
    open_store.add_cases([("uav", case, payload)])
    return case


@pytest.fixture(scope="session")
def case_maker():
    """A case of a picture in PNG; `further_bytes` is a second picture of its frame."""

    def make(image, origin=(0, 0), further_bytes=None, **changes):
        first = encode_image(image, "image/png")
        payload = first if further_bytes is None else first + further_bytes[1]
        height, width = image.shape[:2]
        fields = {
            "region_xyxy": (origin[0], origin[1], origin[0] + width, origin[1] + height),
            "space_id": "0123456789abcdef",
            "media_type": "image/png",
            "further": () if further_bytes is None else (further_bytes[0],),
        }
        return make_case(payload, **{**fields, **changes}), payload

    return make
