"""The three pages, and a port that is taken."""

import asyncio
import json
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Counter

from cloud import http
from cloud.config import CloudSettings
from cloud.errors import CloudError
from cloud.http import HttpServer, create_app, listen
from edge.errors import ConfigError


def fetch(page, backend, not_ready=""):
    """(status, text) of one page of a real server."""
    registry = CollectorRegistry()
    Counter("skyloop_things", "Things", registry=registry).inc(3)

    async def scenario():
        with listen("127.0.0.1:0") as http_socket:
            server = HttpServer(create_app(backend, registry, lambda: not_ready), CloudSettings().web)
            task = asyncio.create_task(server.serve(sockets=[http_socket]))
            url = f"http://127.0.0.1:{http_socket.getsockname()[1]}{page}"
            try:
                return await asyncio.to_thread(_open, url)
            finally:
                server.should_exit = True
                await task

    return asyncio.run(asyncio.wait_for(scenario(), 60))


def _open(url):
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_healthz(backend):
    assert fetch("/healthz", backend) == (200, '{"status":"alive"}')


@pytest.mark.parametrize(("reason", "status"), [("", 200), ("stopping", 503)])
def test_readyz_says_why_not(backend, reason, status):
    found, text = fetch("/readyz", backend, reason)
    assert (found, json.loads(text)) == (status, {"status": reason or "ready"})


def test_metrics(backend):
    assert "skyloop_things_total 3.0" in fetch("/metrics", backend)[1]


def test_listen_on_a_taken_port():
    with listen("127.0.0.1:0") as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CloudError, match="cannot listen"):
            listen(address)


@pytest.mark.parametrize("address", ["7601", "host:", "host:x", "127.0.0.1:70000"])
def test_listen_refuses_what_is_no_address(address):
    with pytest.raises(ConfigError, match="HOST:PORT"):
        listen(address)


def test_connection_that_sends_nothing_is_closed(backend, monkeypatch):
    monkeypatch.setattr(http, "FIRST_BYTE_S", 0.3)

    async def scenario():
        with listen("127.0.0.1:0") as http_socket:
            server = HttpServer(create_app(backend, CollectorRegistry(), lambda: ""), CloudSettings().web)
            task = asyncio.create_task(server.serve(sockets=[http_socket]))
            reader, writer = await asyncio.open_connection(*http_socket.getsockname())
            try:
                return await asyncio.wait_for(reader.read(), 10)
            finally:
                writer.close()
                server.should_exit = True
                await task

    assert asyncio.run(scenario()) == b""
