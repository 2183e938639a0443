"""Which stored form of a path to run: a pure choice from what is published, what is asked, and the device."""

from typing import Literal, get_args

from serving.plan import Precision
from zoo.manifest import Format, VersionManifest

__all__ = ["Asked", "choose", "fallback_note", "form_of", "published"]

Asked = Literal["auto", "fp32", "int8", "fp16"]
"""What ``zoo serve --precision`` takes; ``auto`` is what suits the device."""


def form_of(precision: Precision, base: Format = "onnx") -> Format:
    """Return the stored form that a precision means, for a runtime whose fp32 form is ``base``.

    >>> form_of("int8")
    'onnx-int8'
    """
    forms: dict[Precision, Format] = {"fp32": base, "int8": "onnx-int8", "fp16": "onnx-fp16"}
    return forms[precision]


def published(manifest: VersionManifest) -> tuple[Precision, ...]:
    """Return the precisions that a version may be served in; fp32 comes first."""
    return tuple(each for each in get_args(Precision) if each == "fp32" or form_of(each) in manifest.variants)


def choose(manifest: VersionManifest, asked: Asked, device: str) -> Precision:
    """Return the precision to serve a version in.

    Args:
        manifest: the version.
        asked: what the operator wants; a version that was not published in it serves in fp32.
        device: ``cpu`` or ``cuda:0``. ``auto`` is fp16 on CUDA where that is published, and fp32 elsewhere: int8 is
            twice as fast on a CPU, but a row's answer then depends a little on the rows beside it. Who asks takes that.
    """
    wanted: Precision = ("fp16" if device.startswith("cuda") else "fp32") if asked == "auto" else asked
    return wanted if wanted in published(manifest) else "fp32"


def fallback_note(version: str, manifest: VersionManifest, asked: Asked, chosen: Precision) -> str:
    """Return a line about a version that does not compute in what the operator asked for; empty if it does.

    Args:
        version: its name, as ``intent@7``.
        manifest: the version.
        asked: what the operator wants.
        chosen: what it computes in.
    """
    if asked in ("auto", chosen):
        return ""
    if asked in published(manifest):
        return f"{version} computes in {chosen}: the runtime has no {asked}."
    return (
        f"{version} computes in {chosen}: it was not published in {asked}, because its backbone is not stored in it or "
        f"it was not good enough. `zoo head train` says which; `zoo show {version}` has what was measured."
    )
