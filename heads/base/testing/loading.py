"""The ``model`` of a team's tests: which version it is, and why there is none."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from heads.base.building.build import build_head
from heads.base.declaration import Head
from heads.base.packages import load_package
from heads.base.testing.model import Model
from zoo import Zoo
from zoo.author import author
from zoo.errors import NotFound
from zoo.settings import load_settings

__all__ = ["FRESH", "VERSION_VARIABLE", "model_of", "open_model"]

VERSION_VARIABLE = "HYDRAZOO_TEST_VERSION"
"""The environment variable that says which version of a head its tests ask: a number, an alias, the beginning of a
digest, or ``fresh``. Not set, it is what the head's name alone means: ``prod``, or else the newest version."""

FRESH = "fresh"
"""Build the head as it is in the working tree (nothing is done if it was built), and ask that."""


@contextmanager
def open_model(head: Head, selector: str = "") -> Iterator[Model]:
    """Give a version of a head, from the zoo that the settings name.

    Args:
        head: the declaration.
        selector: a number, an alias, the beginning of a digest, ``fresh``, or empty for what the name alone means.

    Raises:
        NotFound: there is no zoo, or no such version in it.
        GateMissed: it is to be built, and is below its gate; ``build_head`` says what else can go wrong.
    """
    settings = load_settings()
    package, by = load_package(head.team), author()
    with Zoo.open(settings.zoo, database_url=settings.database_url, blobs_url=settings.blobs_url) as zoo:
        if selector == FRESH:
            version = build_head(zoo, package, by=by).version
        else:
            version = zoo.resolve(f"{head.name}@{selector}" if selector else head.name).version
        yield Model(zoo, version, package, by=by)


def model_of(head: Head) -> Any:
    """Return a pytest fixture that gives the built head.

    A team's test file has ``model = model_of(HEAD)``, and its tests take ``model``.

    Tests that take it are skipped where there is no zoo with that head. A version that was asked for and is not there
    is an error.

    Args:
        head: the declaration.
    """
    import pytest

    @pytest.fixture(scope="module", name="model")
    def model() -> Iterator[Model]:
        selector = os.environ.get(VERSION_VARIABLE, "")
        with ExitStack() as stack:
            try:
                opened = stack.enter_context(open_model(head, selector))
            except NotFound as absent:
                if selector:
                    raise
                first = str(absent).partition(". ")[0]
                pytest.skip(f"{first}. `zoo head train {head.team}` builds this head.")
            yield opened

    return model
