import pytest

from edge.endpoints import check_endpoint, is_loopback, split_endpoints
from edge.errors import ConfigError


@pytest.mark.parametrize(
    ("endpoint", "loopback"),
    [
        ("tcp://127.0.0.1:7600", True),
        ("tcp://127.9.9.9:7600", True),
        ("tcp://localhost:7600", True),
        ("tcp://[::1]:7600", True),
        ("ipc:///tmp/skyloop", True),
        ("tcp://0.0.0.0:7600", False),
        ("tcp://*:7600", False),
        ("tcp://localhost.example.org:7600", False),
        ("tcp://192.168.1.2:7600", False),
        ("tcp://[fe80::1]:7600", False),
    ],
)
def test_only_loopback_endpoints_count_as_local(endpoint, loopback):
    check_endpoint(endpoint)
    assert is_loopback(endpoint) is loopback


@pytest.mark.parametrize(
    "endpoint", ["", "127.0.0.1:7600", "tcp://host", "tcp://host:99999", "http://host:1", "tcp://a b:1", "ipc://"]
)
def test_text_that_is_no_endpoint_is_refused(endpoint):
    with pytest.raises(ConfigError, match="tcp://HOST:PORT"):
        check_endpoint(endpoint)


def test_endpoints_are_taken_in_their_order():
    assert split_endpoints("tcp://b:2, tcp://a:1") == ("tcp://b:2", "tcp://a:1")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("tcp://a:1,a:2", "tcp://HOST:PORT"),
        ("tcp://a:1,", "tcp://HOST:PORT"),
        ("tcp://a:1,tcp://a:1", "twice"),
        (",".join(f"tcp://a:{port}" for port in range(1, 10)), "at most 8"),
    ],
)
def test_list_of_endpoints_that_cannot_work_is_refused(text, fault):
    with pytest.raises(ConfigError, match=fault):
        split_endpoints(text)
