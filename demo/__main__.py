"""Fine-tune four heads on MiniLM, publish them, serve them, and ask them; then stay up.

Every step is a command of the README, printed before it runs. A second run finds that nothing
changed and goes straight to serving.
"""

import contextlib
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from hydrazoo.client import Client, Predictions
from hydrazoo.client.command import describe
from rich.console import Console
from rich.table import Table

TEAMS = ("intent", "urgency", "topics", "pii")
DEFAULT_PORT = 8701
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 20.0
MESSAGES = (
    "Hi, Maria Keller here (maria.keller@example.com). I was charged twice for order 48213, please send one back.",
    "The app crashes every time I open my basket, and no, I have NOT changed anything. My sale ends tonight!",
    "Just wanted to say the new lamp is lovely, danke!",
)

console = Console(highlight=False)


def zoo_command(*words: str) -> list[str]:
    """Return the command line of ``zoo`` in this environment."""
    return [str(Path(sys.executable).with_name("zoo")), *words]


def step(title: str, words: Sequence[str]) -> None:
    """Print a step and its command, run it, and stop the demo if it fails."""
    console.print(f"\n[bold]{title}[/bold]\n[dim]$ zoo {shlex.join(words)}[/dim]")
    started = time.monotonic()
    code = subprocess.run(zoo_command(*words), check=False).returncode
    if code != 0:
        raise SystemExit(code)
    console.print(f"[dim]{time.monotonic() - started:.1f} s[/dim]")


def free_port(wanted: int) -> int:
    """Return ``wanted`` if nothing listens there, else a port that is free."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), socket.create_server(("localhost", port)) as listener:
            return int(listener.getsockname()[1])
    raise SystemExit("error: no port on localhost is free")


@contextlib.contextmanager
def server(zoo: str, address: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``zoo serve`` until the block ends, then stop it as an operator would: SIGTERM, and time to drain."""
    words = ("serve", "--zoo", zoo, "--address", address, "--no-access-log")
    console.print(f"\n[bold]Serving[/bold]\n[dim]$ zoo {shlex.join(words)}[/dim]")
    # Ctrl-C reaches the whole foreground process group: in a session of its own the server hears of it from us alone.
    process = subprocess.Popen(zoo_command(*words), start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(client: Client, process: subprocess.Popen[bytes]) -> None:
    """Return when the server answers; stop the demo if it dies or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not client.ready():
        if process.poll() is not None:
            raise SystemExit(f"error: the server stopped with exit code {process.returncode}; its message is above")
        if time.monotonic() > deadline:
            raise SystemExit(f"error: the server was not ready after {START_TIMEOUT_S:.0f} s")
        time.sleep(0.05)


def show(text: str, answers: Predictions, elapsed_ms: float) -> None:
    """Print one text and what every head says of it."""
    table = Table(show_edge=False, pad_edge=False, header_style="dim")
    for column in ("head", "answer", "version"):
        table.add_column(column)
    for prediction in answers.values():
        version = prediction.version
        name = (
            f"{prediction.head}@{version.number} ({version.alias}, epoch {version.alias_epoch}) {version.digest[:12]}"
        )
        table.add_row(prediction.head, describe(prediction.answer), name)
    console.print(f"\n[bold cyan]“{text}”[/bold cyan]")
    console.print(table)
    console.print(
        f"[dim]{len(answers)} heads in one call: {elapsed_ms:.1f} ms, "
        f"{answers.server_time_ms:.1f} ms of it in the server[/dim]"
    )


def ask(client: Client) -> None:
    """Ask all the heads about each message, in one call a message."""
    for text in MESSAGES:
        started = time.perf_counter()
        answers = client.predict(text=text, heads=TEAMS)
        show(text, answers, 1000 * (time.perf_counter() - started))


def say_what_next(zoo: str, address: str) -> None:
    """Print where the server listens and what to try."""
    here = Path(sys.executable).parent
    prefix = here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here
    console.print(f"\n[bold green]Listening on {address}.[/bold green] In a second terminal, try:\n")
    for line in (
        f"{prefix}/zoo predict --server {address} --heads intent,pii --text 'Where is my parcel? Call 555-0142.'",
        f"{prefix}/zoo ls --zoo {zoo}",
        f"{prefix}/zoo show intent@prod --zoo {zoo}",
    ):
        console.print(f"  {line}", soft_wrap=True)
    console.print("\nCtrl-C stops it.")


def stop_on_sigterm() -> None:
    """Turn SIGTERM into the same clean stop as Ctrl-C."""

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


@click.command()
@click.option("--zoo", default=".zoo", show_default=True, help="Folder of the zoo; made if it is not there.")
@click.option("--port", default=DEFAULT_PORT, show_default=True, help="Port to listen on; another one if it is taken.")
@click.option("--once", is_flag=True, help="Stop after the answers instead of staying up.")
def main(zoo: str, port: int, once: bool) -> None:
    """Fine-tune, publish, serve and ask four heads on one backbone."""
    stop_on_sigterm()
    started = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        step("A real backbone: MiniLM-L6, cut into three stages", ("backbone", "add", "minilm", "--zoo", zoo))
        step("Four teams' heads on it", ("head", "train", *TEAMS, "--promote", "prod", "--zoo", zoo))
        address = f"localhost:{free_port(port)}"
        with server(zoo, address) as process, Client(address) as client:
            wait_until_ready(client, process)
            ask(client)
            console.print(f"\n[dim]First to last step: {time.monotonic() - started:.1f} s[/dim]")
            if not once:
                say_what_next(zoo, address)
                process.wait()
    console.print("Stopped.")


if __name__ == "__main__":
    main()
