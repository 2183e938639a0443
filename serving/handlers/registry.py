"""The zoo, read for callers: which versions exist, which are live, and what made them."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from serving.bounds import check_name
from serving.errors import InvalidRequest
from serving.handlers.access import AccessLog
from serving.handlers.admission import Admission
from serving.handlers.call import NOBODY, CallContext
from zoo import Zoo
from zoo.registry.records import HeadSummary, Promotion, Resolved, Version

__all__ = ["Page", "RegistryHandler"]

DEFAULT_PAGE = 100
LARGEST_PAGE = 1000

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[ItemT]):
    """Part of a list, and the token that asks for the rest; an empty token ends it."""

    items: tuple[ItemT, ...]
    next_token: str


class RegistryHandler:
    """Reads the zoo in a thread: its database and its blobs may be slow, and the event loop answers predictions.

    A page token is the key of the last item of the page before, so a page stays right when the list grows.

    Args:
        zoo: what is read.
        admission: lets calls in, and waits for them when the server drains.
        log: gets a line for each.
    """

    def __init__(self, zoo: Zoo, admission: Admission, log: AccessLog) -> None:
        self._zoo = zoo
        self._admission = admission
        self._log = log

    async def heads(self, page_size: int, page_token: str, call: CallContext = NOBODY) -> Page[HeadSummary]:
        """Return a page of the heads, by name."""
        with self._entered("ListHeads", "", call):
            heads = await asyncio.to_thread(self._zoo.heads)
            return _page(heads, page_size, page_token, key=lambda head: head.name)

    async def versions(self, head: str, page_size: int, page_token: str, call: CallContext = NOBODY) -> Page[Version]:
        """Return a page of the versions of a head, newest first; NotFound if there is no such head."""
        with self._entered("ListVersions", head, call):
            versions = await asyncio.to_thread(self._zoo.versions, check_name("head", head))
            return _page(versions, page_size, page_token, key=lambda version: str(version.number))

    async def version(self, reference: str, call: CallContext = NOBODY) -> tuple[Version, bytes]:
        """Return the version that a reference means, and the bytes of its manifest, whose digest is the version's.

        Raises:
            NotFound: the reference means nothing.
            InvalidReference: it is none.
            Corrupt: the manifest's bytes are damaged or gone.
        """
        with self._entered("GetVersion", reference, call):
            return await asyncio.to_thread(self._version, check_name("reference", reference))

    async def resolve(self, reference: str, call: CallContext = NOBODY) -> Resolved:
        """Return what a reference means now; NotFound or InvalidReference if it means nothing."""
        with self._entered("Resolve", reference, call):
            return await asyncio.to_thread(self._zoo.resolve, check_name("reference", reference))

    async def promotions(
        self, head: str, alias: str, page_size: int, page_token: str, call: CallContext = NOBODY
    ) -> Page[Promotion]:
        """Return a page of the promotions of a head, newest first; NotFound if there is no such head."""
        with self._entered("ListPromotions", head, call):
            promotions = await asyncio.to_thread(self._promotions, check_name("head", head), check_name("alias", alias))
            return _page(promotions, page_size, page_token, key=lambda promotion: str(promotion.id))

    @contextmanager
    def _entered(self, rpc: str, asked: str, call: CallContext) -> Iterator[None]:
        """Count and log a call, and let it in."""
        with self._log.request(rpc, "", call) as entry, self._admission.enter():
            entry.heads = asked
            yield

    def _version(self, reference: str) -> tuple[Version, bytes]:
        version = self._zoo.resolve(reference).version
        return version, self._zoo.blobs.get(version.digest)

    def _promotions(self, head: str, alias: str) -> list[Promotion]:
        self._zoo.versions(head)  # a head that was never promoted is not the same as one that does not exist
        return self._zoo.promotions(head, alias)


def _page(items: Sequence[ItemT], size: int, token: str, *, key: Callable[[ItemT], str]) -> Page[ItemT]:
    """Return the items after the one that ``token`` names.

    >>> _page(["a", "b", "c"], 2, "", key=str)
    Page(items=('a', 'b'), next_token='b')
    >>> _page(["a", "b", "c"], 2, "b", key=str)
    Page(items=('c',), next_token='')
    """
    keys = [key(item) for item in items]
    check_name("page token", token)
    if token and token not in keys:
        raise InvalidRequest(f"The page token {token!r} is none that this list gave; ask for the first page again.")
    start = keys.index(token) + 1 if token else 0
    end = start + min(size or DEFAULT_PAGE, LARGEST_PAGE)
    return Page(items=tuple(items[start:end]), next_token=keys[end - 1] if end < len(items) else "")
