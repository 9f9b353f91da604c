"""A console without a service, and people before it."""

from dataclasses import replace

import pytest
from console_people import PASSWORD, ROLES, Person
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from cloud.accounts import hash_password
from cloud.config import CloudSettings
from cloud.http import create_app


@pytest.fixture(scope="session")
def password_hash():
    return hash_password(PASSWORD)


@pytest.fixture
def console(backend, tiny_bundle, password_hash):
    """Of whom a test wants to be: a browser that is logged in."""
    for name, role in ROLES.items():
        backend.store.add_user(name, password_hash, role, 1.0)
    settings = CloudSettings(students=(tiny_bundle.folder,))
    app = create_app(replace(backend, settings=settings), CollectorRegistry(), lambda: "")
    clients = []

    def enter(name=None):
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
