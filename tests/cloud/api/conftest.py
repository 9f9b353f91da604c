"""The API over a store with a few cases, and clients of every role."""

from functools import partial

import pytest
from api_parts import client_for, keep_case, service_of

from cloud import database
from cloud.store import CaseStore


@pytest.fixture(scope="package", autouse=True)
def _no_waiting_for_the_disk():
    """What survives power loss is not asked here, and each durable commit waits for a disk that others use."""
    on_connect = database._on_connect

    def quickly(connection, record):
        on_connect(connection, record)
        connection.execute("PRAGMA synchronous=OFF")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_on_connect", quickly)
        patch.setattr("os.fsync", lambda _: None)
        yield


@pytest.fixture
def store(tmp_path):
    opened = CaseStore(tmp_path / "data")
    opened.enroll("uav", "u" * 40)
    opened.enroll("sat", "s" * 40)
    yield opened
    opened.close()


@pytest.fixture
def add(store):
    return partial(keep_case, store)


@pytest.fixture
def service(store):
    return service_of(store)


@pytest.fixture
def client_of(service):
    return partial(client_for, service)


@pytest.fixture
def viewer(client_of):
    return client_of("viewer")


@pytest.fixture
def analyst(client_of):
    return client_of("analyst")


@pytest.fixture
def operator(client_of):
    return client_of("operator")
