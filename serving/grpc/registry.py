"""The service that reads the zoo."""

from hydrazoo.registry.v1 import registry_pb2 as pb
from hydrazoo.registry.v1 import registry_pb2_grpc

from serving.grpc.caller import caller_of
from serving.grpc.guard import Context
from serving.handlers import RegistryHandler
from zoo.registry.records import HeadSummary, Promotion, Version

__all__ = ["RegistryService"]


class RegistryService(registry_pb2_grpc.RegistryServiceServicer):
    """Decodes, calls the handler, encodes."""

    def __init__(self, handler: RegistryHandler) -> None:
        self._handler = handler

    async def ListHeads(self, request: pb.ListHeadsRequest, context: Context) -> pb.ListHeadsResponse:
        """List the heads."""
        page = await self._handler.heads(request.page_size, request.page_token, caller_of(context).context)
        return pb.ListHeadsResponse(heads=map(_head, page.items), next_page_token=page.next_token)

    async def ListVersions(self, request: pb.ListVersionsRequest, context: Context) -> pb.ListVersionsResponse:
        """List the versions of a head."""
        call = caller_of(context).context
        page = await self._handler.versions(request.head, request.page_size, request.page_token, call)
        return pb.ListVersionsResponse(versions=map(_version, page.items), next_page_token=page.next_token)

    async def GetVersion(self, request: pb.GetVersionRequest, context: Context) -> pb.GetVersionResponse:
        """Get a version and its manifest."""
        version, manifest = await self._handler.version(request.reference, caller_of(context).context)
        return pb.GetVersionResponse(version=_version(version), manifest_json=manifest.decode())

    async def Resolve(self, request: pb.ResolveRequest, context: Context) -> pb.ResolveResponse:
        """Say what a reference means now."""
        found = await self._handler.resolve(request.reference, caller_of(context).context)
        return pb.ResolveResponse(version=_version(found.version), alias=found.alias, alias_epoch=found.epoch)

    async def ListPromotions(self, request: pb.ListPromotionsRequest, context: Context) -> pb.ListPromotionsResponse:
        """List the promotions of a head."""
        call = caller_of(context).context
        page = await self._handler.promotions(request.head, request.alias, request.page_size, request.page_token, call)
        return pb.ListPromotionsResponse(promotions=map(_promotion, page.items), next_page_token=page.next_token)


def _head(head: HeadSummary) -> pb.Head:
    aliases = [
        pb.Alias(
            name=state.alias,
            number=state.number,
            epoch=state.epoch,
            canary=state.canary,
            canary_percent=state.canary_percent,
            shadows=state.shadows,
        )
        for state in head.aliases
    ]
    return pb.Head(name=head.name, latest_number=head.latest_number, aliases=aliases)


def _version(version: Version) -> pb.Version:
    return pb.Version(
        head=version.head,
        number=version.number,
        digest=version.digest,
        path_digest=version.path_digest,
        created_at=version.created_at,
        created_by=version.created_by,
    )


def _promotion(promotion: Promotion) -> pb.Promotion:
    return pb.Promotion(
        alias=promotion.alias,
        epoch=promotion.epoch,
        number=promotion.number,
        at=promotion.at,
        by=promotion.by,
        reason=promotion.reason,
        canary=promotion.canary,
        canary_percent=promotion.canary_percent,
        shadows=promotion.shadows,
    )
