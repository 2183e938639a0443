"""``python -m tests.support.exported_elsewhere``: digests of exports, made in a process that exported nothing before.

Prints a JSON object: of ``body`` the sorted digests of its blobs, its variants' among them, and of a head's ``group``.
"""

import json

import torch

from heads.base import Classify, Head
from heads.base.recipe import Recipe
from heads.base.tasks.modules import make_head
from tests.support.export_stages import BODY_EXAMPLE, GROUP_AVAILABLE, GROUP_EXAMPLE, Body
from zoo.digest import digest_bytes
from zoo.export import export_stage
from zoo.export.group import to_group


def main() -> None:
    """Run as the module's docstring says."""
    torch.manual_seed(0)
    body = export_stage(Body(first=True).eval(), example=BODY_EXAMPLE, variants=("onnx-int8", "onnx-fp16"))
    task = Classify(labels=("a", "b", "c"))
    head = make_head(Head(name="other", team="other", task=task), Recipe(), GROUP_AVAILABLE).eval()
    group = digest_bytes(to_group(head, GROUP_EXAMPLE) or b"")
    print(json.dumps({"body": sorted(body.blobs), "group": group}))  # noqa: T201 - the tests read it


if __name__ == "__main__":
    main()
