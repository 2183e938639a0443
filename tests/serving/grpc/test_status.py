import logging
from collections.abc import Iterator

import pytest
from grpc import StatusCode

from serving.errors import Overloaded, ServingError, StageFailed, UnknownModel
from serving.grpc.status import ERROR_CODE_KEY, PUSHBACK_KEY, STATUS_OF, refusal
from zoo.errors import NotFound, TooLong, ZooError


def below(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for child in kind.__subclasses__():
        yield from below(child)


def of_ours(kind: type[Exception]) -> bool:
    return kind.__module__.split(".")[0] in {"zoo", "serving"}


DOMAIN = sorted({kind for root in (ZooError, ServingError) for kind in below(root) if of_ours(kind)}, key=str)


@pytest.mark.parametrize("kind", DOMAIN, ids=lambda kind: kind.__name__)
def test_every_domain_error_has_a_status_of_its_own(kind: type[Exception]) -> None:
    assert kind in STATUS_OF, f"serving/grpc/status.py does not say which status {kind.__name__} is"


def test_every_domain_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in DOMAIN if issubclass(kind, ZooError | ServingError)]
    assert len(codes) == len(set(codes)) > 15


def test_only_failures_of_the_server_itself_are_internal() -> None:
    internal = {kind for kind, status in STATUS_OF.items() if status is StatusCode.INTERNAL}
    assert internal == {ZooError, ServingError, StageFailed}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnknownModel("no 'ocr'"), StatusCode.NOT_FOUND),
        (NotFound("no head 'ocr'"), StatusCode.NOT_FOUND),
        (TooLong("600 tokens"), StatusCode.INVALID_ARGUMENT),
    ],
)
def test_a_domain_error_keeps_its_text_and_its_code(error: ZooError | ServingError, status: StatusCode) -> None:
    ended = refusal(error)
    assert (ended.status, ended.message) == (status, str(error))
    assert ended.metadata == ((ERROR_CODE_KEY, error.code),)


@pytest.mark.parametrize(("retry_after_s", "pushback_ms"), [(0.25, "250"), (0.0301, "31"), (0.0, "1"), (2, "2000")])
def test_overload_says_after_how_many_milliseconds_to_try_again(retry_after_s: float, pushback_ms: str) -> None:
    ended = refusal(Overloaded("full", retry_after_s=retry_after_s))
    assert (ended.status, ended.message) == (StatusCode.RESOURCE_EXHAUSTED, "full")
    assert dict(ended.metadata) == {ERROR_CODE_KEY: "serving.overloaded", PUSHBACK_KEY: pushback_ms}


def test_a_subclass_that_nobody_mapped_has_its_parents_status() -> None:
    class Unheard(UnknownModel):
        pass

    assert refusal(Unheard("?")).status is StatusCode.NOT_FOUND


def test_what_nobody_foresaw_gives_an_id_that_the_log_has_and_no_text(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        ended = refusal(ValueError("the password is swordfish"))
    assert ended.status is StatusCode.INTERNAL
    assert "swordfish" not in ended.message
    (record,) = caplog.records
    assert record.getMessage().partition(":")[0] in ended.message
    assert "swordfish" in caplog.text


def test_a_failed_stage_keeps_its_text_which_has_the_id_already() -> None:
    assert refusal(StageFailed("the log has it under 12ab")).message == "the log has it under 12ab"
