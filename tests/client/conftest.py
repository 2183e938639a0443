"""A fake server, and one way to call both clients."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hydrazoo.client import AsyncClient, Client

from tests.support.fake_server import Ask, FakeServer, fake_server


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with fake_server() as fake:
        yield fake


@pytest.fixture(params=["blocking", "asyncio"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Call a method of a new client: ``ask(target, "predict", {"retries": False}, text=...)``."""

    def blocking(target: str, method: str, options: dict[str, Any] | None = None, *args: Any, **arguments: Any) -> Any:
        with Client(target, **(options or {})) as client:
            return getattr(client, method)(*args, **arguments)

    def on_a_loop(target: str, method: str, options: dict[str, Any] | None = None, *args: Any, **arguments: Any) -> Any:
        async def call() -> Any:
            async with AsyncClient(target, **(options or {})) as client:
                return await getattr(client, method)(*args, **arguments)

        return asyncio.run(call())

    return blocking if request.param == "blocking" else on_a_loop
