from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.loader import load_plan
from serving.plan import LoadedPlan, Precision, ServedVersion
from serving.plan_text import plan_as_json, tree_lines
from serving.precision import Asked, choose, fallback_note, published
from tests.support.provenance import provenance
from tests.support.recording_runtime import Recording
from tests.support.tiny_zoo import BODY, Network, TinyZoo, add_network, make_tiny_zoo, onnx_bytes
from zoo import Zoo
from zoo.digest import digest_bytes
from zoo.manifest import Format, VersionManifest


@pytest.fixture
def zoo(tmp_path: Path) -> Iterator[Zoo]:
    """A body that is stored in int8 too, ``urgency`` on it as ever, and ``intent`` with int8 published."""
    with Zoo.open(tmp_path / "zoo", create=True) as opened:
        for network in BODY:
            add_network(opened, network, **{"onnx-int8": onnx_bytes(halved(network))})
        tiny = make_tiny_zoo(tmp_path / "zoo", ["urgency"])
        publish_in(opened, tiny, "onnx-int8")
        yield opened


def halved(network: Network) -> Network:
    """Return the network with half its numbers, to be told apart."""
    return replace(network, weights={name: _half(array) for name, array in network.weights.items()})


def _half(array: NDArray[Any]) -> NDArray[Any]:
    return array / 2 if array.dtype == np.float32 else array


def publish_in(zoo: Zoo, tiny: TinyZoo, *forms: Format) -> VersionManifest:
    """Publish ``intent`` with the forms as variants, under prod."""
    plain = zoo.manifest(tiny.publish(zoo, "intent", promote_to=()))
    changes = {
        "variants": dict.fromkeys(forms, plain.metrics),
        "parity": {**plain.parity, **dict.fromkeys(forms, plain.parity["onnx"])},
        "build_key": digest_bytes(b"with variants"),
    }
    manifest = plain.model_copy(update=changes)
    zoo.publish(manifest, promote_to=["prod"], reason="for a test")
    return manifest


def version_in(loaded: LoadedPlan, head: str) -> ServedVersion:
    return loaded.plan.resolve(head)[0]


@pytest.mark.parametrize(
    ("asked", "device", "has", "expected"),
    [
        ("auto", "cpu", ("onnx-int8", "onnx-fp16"), "fp32"),
        ("auto", "cuda:0", ("onnx-int8", "onnx-fp16"), "fp16"),
        ("auto", "cuda:0", ("onnx-int8",), "fp32"),
        ("int8", "cpu", ("onnx-int8",), "int8"),
        ("int8", "cuda:0", ("onnx-int8",), "int8"),
        ("int8", "cpu", (), "fp32"),
        ("fp16", "cpu", ("onnx-int8",), "fp32"),
        ("fp32", "cuda:0", ("onnx-fp16",), "fp32"),
    ],
)
def test_precision_follows_what_is_asked_the_device_and_what_is_published(
    asked: Asked, device: str, has: tuple[Format, ...], expected: Precision, zoo: Zoo
) -> None:
    manifest = zoo.manifest(zoo.resolve("intent@prod").version)
    metrics = manifest.metrics
    assert choose(manifest.model_copy(update={"variants": dict.fromkeys(has, metrics)}), asked, device) == expected


@given(
    st.sampled_from(get_args(Asked)),
    st.sampled_from(["cpu", "cuda:0", "cuda:3"]),
    st.sets(st.sampled_from(["onnx-int8", "onnx-fp16"])),
)
def test_only_what_is_published_is_ever_chosen(asked: Asked, device: str, has: set[Format]) -> None:
    fields: dict[str, Any] = {"variants": dict.fromkeys(has, provenance("any", "any")["metrics"])}
    manifest = VersionManifest.model_construct(**fields)
    chosen = choose(manifest, asked, device)
    assert chosen in published(manifest)
    assert bool(fallback_note("any@1", manifest, asked, chosen)) == (asked not in ("auto", chosen))


def test_version_with_int8_runs_its_body_in_int8_and_its_head_in_fp32(zoo: Zoo) -> None:
    loaded = load_plan(zoo, Recording(), heads=["intent"], precision="int8")
    assert version_in(loaded, "intent").precision == "int8"
    forms = [node.executable.rpartition("/")[2] for node in loaded.plan.nodes()]
    assert forms[:2] == ["onnx-int8", "onnx-int8"]
    assert forms[2] == version_in(loaded, "intent").manifest.stages[-1].digest
    assert plan_as_json(loaded.plan)["versions"][0]["precision"] == "int8"


def test_stage_in_int8_is_what_is_stored_as_int8(zoo: Zoo) -> None:
    def tokens(asked: Asked) -> NDArray[Any]:
        loaded = load_plan(zoo, Recording(), heads=["intent"], precision=asked)
        inputs = {"ids_NT": np.array([[2, 9, 3]]), "mask_NT": np.ones((1, 3), np.int64)}
        given: NDArray[Any] = loaded.executables[loaded.plan.roots[0].node.executable](inputs)["tokens_NTD"]
        return given

    np.testing.assert_allclose(tokens("int8"), tokens("fp32") / 2)


def test_nodes_of_another_precision_have_paths_of_their_own_so_that_no_cache_mixes_them(zoo: Zoo) -> None:
    def paths(asked: Asked) -> set[str]:
        return {node.path for node in load_plan(zoo, Recording(), heads=["intent"], precision=asked).plan.nodes()}

    assert not paths("int8") & paths("fp32")
    assert paths("auto") == paths("fp32")


def test_head_without_int8_runs_in_fp32_beside_it_and_the_log_says_so_once(
    zoo: Zoo, caplog: pytest.LogCaptureFixture
) -> None:
    first = load_plan(zoo, Recording(), precision="int8")
    assert (version_in(first, "intent").precision, version_in(first, "urgency").precision) == ("int8", "fp32")
    assert len(first.plan.roots) == 2
    (record,) = caplog.records
    assert record.getMessage() == (
        "urgency@1 computes in fp32: it was not published in int8, because its backbone is not stored in it or it was "
        "not good enough. `zoo head train` says which; `zoo show urgency@1` has what was measured."
    )
    caplog.clear()
    load_plan(zoo, Recording(), precision="int8", before=first)
    assert not caplog.records


def test_printed_plan_says_which_stages_run_in_int8(zoo: Zoo) -> None:
    lines = list(tree_lines(load_plan(zoo, Recording(), precision="int8").plan))
    assert [line.strip("└├─│ ") for line in lines if "tiny/0" in line] == ["tiny/0 (int8)", "tiny/0"]
    assert not [line for line in tree_lines(load_plan(zoo, Recording()).plan) if "int8" in line]


def test_runtime_without_that_precision_says_so(zoo: Zoo) -> None:
    manifest = zoo.manifest(zoo.resolve("intent@prod").version)
    assert fallback_note("intent@2", manifest, "int8", "fp32") == (
        "intent@2 computes in fp32: the runtime has no int8."
    )
