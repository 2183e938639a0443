"""Messages through shared memory, in one process and between two."""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.frontends.channel import Channel, Link
from zoo.digest import digest_bytes

SMALL = 512


class End:
    """One end of a channel, and what came out of it."""

    def __init__(self, link: Link, *, writes_first: bool) -> None:
        self.received: list[bytes] = []
        self.changed = asyncio.Event()
        self.gone = asyncio.Event()
        self.channel = Channel(link, writes_first=writes_first, receive=self._receive, ended=self.gone.set)

    def _receive(self, message: memoryview) -> None:
        self.received.append(bytes(message))
        self.changed.set()

    async def wait_for(self, count: int) -> list[bytes]:
        async with asyncio.timeout(20):
            while len(self.received) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.received


def live(work: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await asyncio.wait_for(work(), 30)

    asyncio.run(run())


@settings(max_examples=50, deadline=None)
@given(there=st.lists(st.binary(max_size=3 * SMALL), max_size=20), back=st.lists(st.binary(max_size=100), max_size=20))
def test_messages_of_any_length_arrive_whole_and_in_order_both_ways(there: list[bytes], back: list[bytes]) -> None:
    async def work() -> None:
        one, other = Link.pair(SMALL)
        front, engine = End(one, writes_first=True), End(other, writes_first=False)
        for message in there:
            front.channel.send(message)
        for message in back:
            engine.channel.send(message)
        assert await engine.wait_for(len(there)) == there
        assert await front.wait_for(len(back)) == back
        assert front.channel.unsent_bytes == engine.channel.unsent_bytes == 0
        front.channel.close()
        await engine.gone.wait()

    live(work)


def test_what_finds_no_room_waits_in_the_sender_and_is_counted() -> None:
    async def work() -> None:
        one, other = Link.pair(SMALL)
        front = End(one, writes_first=True)
        front.channel.send(bytes(10 * SMALL))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert front.channel.unsent_bytes == 9 * SMALL + 8
        engine = End(other, writes_first=False)
        assert await engine.wait_for(1) == [bytes(10 * SMALL)]
        assert front.channel.unsent_bytes == 0
        front.channel.close()
        await engine.gone.wait()

    live(work)


def test_a_closed_end_is_noticed_by_the_other_and_sends_nothing_more() -> None:
    async def work() -> None:
        one, other = Link.pair(SMALL)
        front, engine = End(one, writes_first=True), End(other, writes_first=False)
        engine.channel.close()
        await front.gone.wait()
        assert not front.channel.is_open
        front.channel.send(b"to nobody")
        assert front.channel.unsent_bytes == 0

    live(work)


def test_an_ended_channel_leaves_neither_descriptors_nor_memory_behind() -> None:
    async def once() -> None:
        one, other = Link.pair(SMALL)
        front, engine = End(one, writes_first=True), End(other, writes_first=False)
        front.channel.send(b"something")
        await engine.wait_for(1)
        front.channel.close()
        await engine.gone.wait()

    async def work() -> None:
        await once()
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone are wanted
        for _ in range(20):
            await once()
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
        with open("/proc/self/maps") as maps:  # noqa: PTH123
            assert "hydrazoo-rings" not in maps.read()

    live(work)


@contextmanager
def echoing(link: Link) -> Iterator["subprocess.Popen[bytes]"]:
    descriptors = (link.socket.fileno(), link.memory)
    command = [sys.executable, "-m", "tests.support.echoing_end", *map(str, descriptors)]
    with subprocess.Popen(command, pass_fds=descriptors) as process:
        link.close()
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("ring_bytes", [1 << 12, 1 << 20])
def test_two_processes_that_hammer_each_other_lose_and_mix_nothing(ring_bytes: int) -> None:
    async def work() -> None:
        one, other = Link.pair(ring_bytes)
        generator = random.Random(ring_bytes)
        sizes = [generator.choice([1, 100, 1000, 3 * ring_bytes // 2]) for _ in range(600)]
        sent = [generator.randbytes(size) for size in sizes]
        with echoing(other) as process:
            engine = End(one, writes_first=False)
            for message in sent:
                engine.channel.send(message)
                if generator.random() < 0.1:
                    await asyncio.sleep(0)
            assert await engine.wait_for(len(sent)) == [digest_bytes(each).encode() + each for each in sent]
            process.kill()
            await engine.gone.wait()

    live(work)
