"""Publishes into copies of a prepared zoo, killed by SIGKILL one step later each time.

``python -m tests.support.crashing_publisher <template> <folder>`` copies the template to ``<folder>/<k>``, publishes
there in a child that kills itself at step k, and goes on until a child lives to the end. A step is a moment before or
after a blob is written, a statement is executed, or a transaction commits.
"""

import itertools
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import event

from tests.support.fake_manifests import version_manifest
from zoo import Zoo
from zoo.blobs import BlobStore


class Fuse:
    """Burns one step at a time, and kills the process at the end."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def burn(self, *_: Any) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


class FusedBlobs(BlobStore):
    """A blob store that burns a fuse before and after it writes."""

    fuse: Fuse

    def put(self, data: bytes) -> str:
        self.fuse.burn()
        digest = super().put(data)
        self.fuse.burn()
        return digest


def publish_and_die(folder: Path, steps: int) -> None:
    """Publish one version with two aliases; dies at the given step, if there are so many."""
    fuse = Fuse(steps)
    with Zoo.open(folder) as zoo:
        blobs = FusedBlobs.in_folder(folder)
        assert isinstance(blobs, FusedBlobs)
        blobs.fuse = fuse
        zoo.blobs = blobs
        for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
            event.listen(zoo.registry.engine, name, fuse.burn)
        publish(zoo)


def publish(zoo: Zoo) -> None:
    """Publish the version that the tests look for."""
    manifest = version_manifest(zoo, zoo.backbone("minilm"), seed="new")
    zoo.publish(manifest, promote_to=["prod", "canary"], reason="crash test")


def main(template: Path, folder: Path) -> None:
    for steps in itertools.count():
        copy = folder / str(steps)
        shutil.copytree(template, copy)
        child = os.fork()
        if child == 0:
            publish_and_die(copy, steps)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            sys.exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
