import click
import pytest
from click.testing import CliRunner
from sqlalchemy.exc import OperationalError

from zoo.console import DomainFailure, domain_errors, print_table, progress
from zoo.errors import NotFound, TooLong


class FromAnotherFolder(Exception):
    code = "serving.overloaded"


class LikeGrpc(Exception):
    def code(self) -> int:
        return 14


@pytest.mark.parametrize("error", [NotFound("no"), TooLong("no"), FromAnotherFolder("no")])
def test_errors_of_any_folder_become_failures_with_their_text(error: Exception) -> None:
    with pytest.raises(DomainFailure, match=r"^no$") as caught, domain_errors():
        raise error
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    "error",
    [RuntimeError("bug"), LikeGrpc("rpc"), OperationalError("SELECT", None, Exception()), click.UsageError("misuse")],
)
def test_errors_that_nobody_foresaw_pass_through(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, domain_errors():
        raise error
    assert caught.value is error


def test_cells_of_a_table_are_literal_and_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "digest"), [("[red]:smile:", "ab" * 32), ("b", 7)])
    printed = capsys.readouterr().out
    assert "[red]:smile:" in printed
    assert "ab" * 32 in printed


def test_progress_goes_to_stderr_and_leaves_results_alone() -> None:
    @click.command()
    def work() -> None:
        with progress("Reading") as tell:
            for done in range(1, 4):
                tell(done, 3)
        click.echo("result")

    result = CliRunner().invoke(work)
    assert result.stdout == "result\n"
