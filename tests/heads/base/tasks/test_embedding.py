"""Heads that embed, on a tiny backbone: what is alike lies close together, labels are declared nowhere."""

from pathlib import Path

import pytest

from heads.base import Embed
from heads.base.building.build import build_head
from heads.base.errors import InvalidHead
from tests.support.head_packages import TeamFolder, mood_lines
from zoo import Zoo


@pytest.fixture
def team(tmp_path: Path) -> TeamFolder:
    bounds = {"recall_at_1": 0.9, "map": 0.8}
    return TeamFolder(tmp_path / "similar", name="similar", team="similar", task=Embed(dim=8), bounds=bounds)


def test_a_head_that_embeds_finds_what_is_alike_also_of_labels_that_it_never_saw(zoo: Zoo, team: TeamFolder) -> None:
    team.write_labels([line | {"label": f"{line['label']}-{line['split']}"} for line in mood_lines()])
    manifest = zoo.manifest(build_head(zoo, team.package, by="tests").version)
    assert (manifest.answer.kind, manifest.answer.output) == ("embed", "vectors_ND")
    assert manifest.signature.outputs[0].shape == ("N", 8)
    assert manifest.metrics.overall.values["recall_at_1"] >= 0.9
    assert all(parity.equal_answers == 1 for parity in manifest.parity.values())


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_in_which_everything_is_alike_is_refused(zoo: Zoo, team: TeamFolder, split: str) -> None:
    team.write_labels([line | ({"label": "same"} if line["split"] == split else {}) for line in mood_lines()])
    with pytest.raises(InvalidHead, match=f"The {split} split of .* has 1 labels"):
        build_head(zoo, team.package, by="tests")
