"""Which heads a model name asks for, and what they take and give."""

from collections.abc import Sequence
from dataclasses import dataclass

from serving.bounds import MAX_HEADS, check_count, check_name
from serving.errors import InvalidRequest
from serving.plan import Plan, ServedVersion
from zoo.manifest import ImagePreprocessing, TensorSpec, TextPreprocessing

__all__ = ["SEPARATOR", "Asked", "asked_head", "asked_heads", "outputs_of", "raw_input", "shadows_of"]

SEPARATOR = "+"
"""Joins the heads of one model name: ``intent+urgency``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One head of a request: the version that will answer, and the alias through which it was found."""

    served: ServedVersion
    alias: str
    epoch: int
    shadows: tuple[ServedVersion, ...] = ()
    """What runs beside it, to be compared with it."""


def asked_head(plan: Plan, head: str, version: str, routing_key: str) -> Asked:
    """Find one head; UnknownModel if it, or its version, is not loaded.

    Args:
        plan: what is loaded.
        head: its name.
        version: a number or an alias, or empty for the default.
        routing_key: who asks; an alias that is split gives equal keys the same side.
    """
    served, alias, epoch = plan.resolve(head, version, routing_key)
    return Asked(served=served, alias=alias, epoch=epoch, shadows=plan.shadows(served, alias))


def asked_heads(plan: Plan, name: str, version: str, routing_key: str = "") -> tuple[Asked, ...]:
    """Find what a model name asks for.

    Args:
        plan: what is loaded.
        name: a head's name, or several joined by ``+``, none twice.
        version: a number or an alias, for every head of the name; empty for the default.
        routing_key: who asks; an alias that is split gives equal keys the same side.

    Raises:
        InvalidRequest: a head is asked twice, or more are asked than one request may.
        UnknownModel: one of them is not loaded.
    """
    check_count("heads", name.count(SEPARATOR) + 1, MAX_HEADS)
    heads = [check_name("model name", head) for head in name.split(SEPARATOR)]
    check_name("model version", version)
    if len(set(heads)) < len(heads):
        raise InvalidRequest(f"The model name {name!r} asks a head twice; name each once.")
    return tuple(asked_head(plan, head, version, routing_key) for head in heads)


def shadows_of(asked: Sequence[Asked]) -> list[ServedVersion]:
    """Return everything that runs beside what was asked, each once."""
    return list(dict.fromkeys(shadow for one in asked for shadow in one.shadows))


def raw_input(version: ServedVersion) -> str:
    """Return the name of the one raw input that a version takes, or an empty one if it takes ready tensors only."""
    if isinstance(version.manifest.preprocessing, TextPreprocessing):
        return "text"
    if isinstance(version.manifest.preprocessing, ImagePreprocessing):
        return "image"
    return ""


def outputs_of(asked: Sequence[Asked]) -> dict[str, tuple[Asked, TensorSpec]]:
    """Return every output that a request can want, by its name there: with several heads, ``head/output``."""
    prefixed = len(asked) > 1
    return {
        f"{one.served.head}/{spec.name}" if prefixed else spec.name: (one, spec)
        for one in asked
        for spec in one.served.manifest.signature.outputs
    }
