"""The other end of a channel, as a process of its own: it sends every message back, behind its digest."""

import asyncio
import socket
import sys

from serving.frontends.channel import Channel, Link
from zoo.digest import digest_bytes


async def echo(link: Link) -> None:
    ended = asyncio.Event()

    def back(message: memoryview) -> None:
        channel.send(digest_bytes(message).encode() + message)

    channel = Channel(link, writes_first=True, receive=back, ended=ended.set)
    await ended.wait()


if __name__ == "__main__":
    ours, memory = map(int, sys.argv[1:])
    asyncio.run(echo(Link(socket=socket.socket(fileno=ours), memory=memory)))
