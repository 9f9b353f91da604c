"""The HTTP server: /healthz, /readyz, /metrics and the pages that must know who asks, in the service's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from uvicorn.protocols.http.h11_impl import H11Protocol

from cloud.accounts import Doorman
from cloud.api import add_api
from cloud.backend import Backend
from cloud.config import WebSettings
from cloud.errors import CloudError
from cloud.review import add_console
from edge.errors import ConfigError

_SHUTDOWN_S = 2
_MOST_CONNECTIONS = 512
"""Requests over it get 503 at once: a process may hold 1024 files on most systems, for crafts and cases too."""

FIRST_BYTE_S = 10.0


def create_app(backend: Backend, registry: CollectorRegistry, not_ready: Callable[[], str]) -> FastAPI:
    """All pages; routes that work with the backend find it with `http_access.backend_of`.

    Args:
        backend: the service behind the pages.
        registry: what /metrics shows.
        not_ready: why the service cannot take cases now; empty when it can.
    """
    app = FastAPI(title="skyloop-cloud", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.backend, app.state.doorman = backend, Doorman(backend.store, backend.clock.monotonic_s)

    # These two run in the event loop: they must answer while every worker thread waits for a log-in or the disk.
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    async def readyz(response: Response) -> dict[str, str]:
        reason = not_ready()
        response.status_code = 503 if reason else 200
        return {"status": reason or "ready"}

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    app.state.review_desk = add_console(app)
    add_api(app)
    return app


class _Prompt(H11Protocol):
    """HTTP/1.1 that closes connections on which nothing comes: uvicorn does so after the first request alone."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first byte as for that of a later request."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(FIRST_BYTE_S, self.timeout_keep_alive_handler)


class HttpServer(uvicorn.Server):
    """A server that leaves signals to the service and its socket to the caller."""

    def __init__(self, app: FastAPI, web: WebSettings) -> None:
        config = uvicorn.Config(
            app,
            http=_Prompt,
            limit_concurrency=_MOST_CONNECTIONS,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=_SHUTDOWN_S,
            proxy_headers=False,  # `http_access` must see who the next hop really is
            server_header=False,
            ssl_certfile=web.tls_cert,
            ssl_keyfile=web.tls_key,
        )
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do not touch the process's signal handlers."""
        yield


def listen(address: str) -> socket.socket:
    """A listening socket.

    Args:
        address: HOST:PORT, [HOST]:PORT for IPv6; port 0 takes any free one.

    Raises:
        ConfigError: not an address.
        CloudError: the port is in use or the host is not this machine's.
    """
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--http {address!r} is not HOST:PORT; write it as 127.0.0.1:7601")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=64)
    except OSError as exc:
        raise CloudError(f"--http {address}: cannot listen ({exc.strerror}); choose another port") from exc
