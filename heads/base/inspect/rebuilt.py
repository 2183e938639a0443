"""A published version in torch again: the backbone's stages, with the version's own weights where it has some."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import safetensors.torch
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from backbone.stage import Stage, run_path
from heads.base.declaration import Classify, Embed, Gate, Head, Multilabel, Regress, Segment, Tag, Task
from heads.base.errors import InvalidHead
from heads.base.inspect.collect import Subject
from heads.base.recipe import Recipe
from heads.base.tasks.modules import HeadStage, make_head
from heads.base.uncertainty.gaussian_process import GaussianProcessLayer
from heads.base.uncertainty.head import Body, CertainHead
from heads.base.uncertainty.laplace import LaplaceLayer
from zoo.manifest import Answer, TensorSpec
from zoo.preprocessing import Row

__all__ = ["Rebuilt", "rebuild", "task_of"]


class Rebuilt(nn.Module):
    """A path of stages in torch, from input to answer, in eval mode; its weights want no gradients.

    Args:
        body: the stages before the head.
        head: the head.
        inputs: names of what preprocessing gives, in the order that ``forward`` takes them.
    """

    def __init__(self, body: Sequence[Stage], head: HeadStage, inputs: Sequence[str]) -> None:
        super().__init__()
        self.body = nn.ModuleList(body)
        self.head = head
        self.inputs = tuple(inputs)
        self.eval().requires_grad_(False)

    def stages(self) -> list[Stage]:
        """Return the stages before the head."""
        return [stage for stage in self.body if isinstance(stage, Stage)]

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the head's output."""
        known = run_path(self.stages(), dict(zip(self.inputs, tensors, strict=True)))
        output: Tensor = self.head(*(known[spec.name] for spec in self.head.inputs))[0]
        return output

    def tensors_of(self, row: Row) -> tuple[Tensor, ...]:
        """Return what ``forward`` takes for one row, with N = 1."""
        return tuple(torch.from_numpy(row.tensors[name])[None] for name in self.inputs)


def rebuild(subject: Subject, declared: Head) -> Rebuilt:
    """Return a version in torch.

    Args:
        subject: the version.
        declared: the head's declaration; its task is taken from the version.

    Raises:
        BackboneChanged: the source of the backbone now gives other weights.
        InvalidHead: the network that this release makes of the version's recipe does not take its weights.
    """
    *own, last = subject.stages[subject.manifest.shared_stages :]
    body = list(subject.prefix.to_cpu())
    available = dict(subject.prefix.available)
    available |= {spec.name: TensorSpec(**spec.model_dump()) for stage in own for spec in stage.outputs}
    try:
        following = subject.prefix.following(len(body) + len(own)) if own else ()
        body += [_with_weights(stage, subject.blob(each.weights)) for stage, each in zip(following, own, strict=True)]
        recipe = Recipe.model_validate(subject.manifest.recipe)
        task = declared.task if isinstance(declared.task, Segment) else task_of(subject.manifest.answer)
        head: HeadStage = make_head(replace(declared, task=task, gate=Gate()), recipe, available)
        weights = safetensors.torch.load(subject.blob(last.weights))
        if last.architecture["kind"] == "head/certain":
            head = _with_certainty(head, weights)
        head.load_state_dict(weights)
    except (ValidationError, RuntimeError) as error:
        raise InvalidHead(
            f"{subject.version} was built by a release whose networks are of another shape: {error}. Its exports "
            "answer as ever; what needs it in torch is left out."
        ) from error
    return Rebuilt(body, head, [spec.name for spec in subject.manifest.signature.inputs])


def task_of(answer: Answer) -> Task:
    """Return the task whose answer this is."""
    match answer.kind:
        case "classify":
            return Classify(labels=answer.labels)
        case "multilabel":
            return Multilabel(labels=answer.labels)
        case "regress":
            return Regress(low=answer.low, high=answer.high)
        case "tag":
            return Tag(labels=answer.labels)
        case "embed":
            return Embed(dim=answer.dim)
        case "segment":
            return Segment(labels=answer.labels)


def _with_certainty(plain: HeadStage, weights: Mapping[str, Tensor]) -> CertainHead:
    """Return a head with the Gaussian layer that a version's weights are of, if they are of one."""
    own = {name.removeprefix("layer."): each for name, each in weights.items() if name.startswith("layer.")}
    if not own:
        return CertainHead(plain)
    if "frequencies" in own:
        return CertainHead(plain, Body(plain, keeps_distance=True), GaussianProcessLayer(**own))
    directions = torch.cat((own["directions"], own["offsets"][None]))
    layer = LaplaceLayer(own["weight"], own["bias"], directions, own["spread"])
    return CertainHead(plain, Body(plain, keeps_distance=False), layer)


def _with_weights(stage: Stage, weights: bytes) -> Stage:
    """Return a copy of a backbone's stage with other weights."""
    own = copy.deepcopy(stage)
    own.load_state_dict(safetensors.torch.load(weights))
    return own
