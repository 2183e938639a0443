"""``zoo predict``: ask a running server from the command line. Not part of the client's own distribution."""

import base64
import json
import os
import sys
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import click
from hydrazoo.client.answers import (
    Answer,
    Classification,
    Embedding,
    Multilabel,
    Prediction,
    Predictions,
    Regression,
    Segmentation,
)
from hydrazoo.client.calls import DEFAULT_TARGET, DEFAULT_TIMEOUT_S
from hydrazoo.client.codec import Priority
from hydrazoo.client.errors import InvalidInput
from hydrazoo.client.sync import Client

__all__ = ["predict"]

_SETTINGS = Path("hydrazoo.toml")


def _configured_server() -> str:
    """Return the server from the environment, else from ``./hydrazoo.toml``, else the default."""
    if server := os.environ.get("HYDRAZOO_SERVER"):
        return server
    try:
        found = tomllib.loads(_SETTINGS.read_text(encoding="utf-8")).get("server", DEFAULT_TARGET)
    except FileNotFoundError:
        return DEFAULT_TARGET
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{_SETTINGS} is not TOML: {error}.") from error
    if not isinstance(found, str):
        raise InvalidInput(f"{_SETTINGS}: server is {found!r}; expected a string in quotes.")
    return found


def _split(_context: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    heads = tuple(head.strip() for head in value.split(",") if head.strip())
    if not heads:
        raise click.BadParameter("name at least one head, such as intent or intent@7")
    return heads


@click.command()
@click.option("--text", help="The text to ask about; - reads it from standard input.")
@click.option("--image", type=click.File("rb"), metavar="FILE", help="The JPEG or PNG to ask about; - reads it too.")
@click.option("--heads", required=True, callback=_split, help="Heads with commas between: intent,urgency@7,pii@canary.")
@click.option("--server", metavar="HOST:PORT", default=_configured_server, help="[default: localhost:8701]")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT_TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the answers.",
)
@click.option(
    "--priority",
    type=click.Choice(["high", "normal", "low"]),
    default="normal",
    show_default=True,
    help="Its place among the waiting requests of the same teams.",
)
@click.option(
    "--routing-key", default="", metavar="KEY", help="Who asks, if an alias is split; this machine if it is not given."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def predict(
    *,
    text: str | None,
    image: BinaryIO | None,
    heads: tuple[str, ...],
    server: str,
    timeout_s: float,
    priority: Priority,
    routing_key: str,
    as_json: bool,
) -> None:
    """Ask heads about one text or image, all in one call.

    Example: zoo predict --heads intent,urgency --text "I was charged twice!"
    """
    if (text is None) == (image is None):
        raise click.UsageError("Give either --text or --image.")
    if text == "-":
        text = sys.stdin.read()
    with Client(server) as client:
        answers = client.predict(
            text=text,
            image=image.read() if image else None,
            heads=heads,
            timeout_s=timeout_s,
            priority=priority,
            routing_key=routing_key,
        )
    click.echo(
        json.dumps(_as_json(answers), indent=2, ensure_ascii=False, default=_base64) if as_json else _as_text(answers)
    )


def _as_json(answers: Predictions) -> dict[str, Any]:
    predictions = [
        {"head": one.head, "version": asdict(one.version), "kind": type(one.answer).__name__.lower()}
        | {"answer": asdict(one.answer)}
        | ({} if one.uncertainty is None else {"uncertainty": one.uncertainty})
        for one in answers.values()
    ]
    return {"predictions": predictions, "request_id": answers.request_id, "server_time_ms": answers.server_time_ms}


def _base64(data: bytes) -> str:
    """Return the one thing in an answer that JSON cannot say, a mask's file, as text."""
    return base64.b64encode(data).decode()


def _as_text(answers: Predictions) -> str:
    rows = [
        (f"{one.head}@{one.version.number}", one.version.alias, one.version.digest[:12], _described(one))
        for one in answers.values()
    ]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, f"{answers.server_time_ms:.1f} ms in the server, request {answers.request_id}"])


def _described(one: Prediction) -> str:
    unsure = "" if one.uncertainty is None else f", uncertainty {one.uncertainty:.2g}"
    return describe(one.answer) + unsure


def describe(answer: Answer) -> str:
    """Return an answer as one line.

    >>> describe(Regression(value=7.25, low=0.0, high=10.0))
    '7.25 (0 to 10)'
    """
    match answer:
        case Classification():
            return f"{answer.label} ({answer.scores[answer.label]:.0%})"
        case Multilabel():
            return ", ".join(f"{label} ({answer.scores[label]:.0%})" for label in answer.labels) or "no label"
        case Regression():
            return f"{answer.value:.4g} ({answer.low:g} to {answer.high:g})"
        case Embedding():
            return f"{len(answer.vector)} numbers: {', '.join(f'{value:.3f}' for value in answer.vector[:3])}, …"
        case Segmentation():
            shares = ", ".join(f"{label} {share:.0%}" for label, share in answer.shares.items())
            return f"{answer.width} × {answer.height} pixels: {shares}"
    return ", ".join(f"{span.label} {span.text!r} ({span.score:.0%})" for span in answer.spans) or "no span"
