from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.errors import StageFailed
from serving.loader import empty_plan, load_plan
from serving.warming import warm_up_jobs
from tests.support.recording_runtime import Recording
from tests.support.tiny_zoo import TinyZoo, make_tiny_zoo
from zoo import Zoo


@pytest.fixture
def tiny(tmp_path: Path) -> TinyZoo:
    return make_tiny_zoo(tmp_path / "zoo", ["intent", "pii"])


@pytest.fixture
def zoo(tiny: TinyZoo) -> Iterator[Zoo]:
    with Zoo.open(tiny.folder) as opened:
        yield opened


def test_every_path_runs_once_each_in_a_job_of_its_own(zoo: Zoo) -> None:
    runtime = Recording()
    jobs = list(warm_up_jobs(load_plan(zoo, runtime), runtime, empty_plan()))
    for job in jobs:
        ran = len(runtime.ran)
        job.run()
        assert runtime.ran[ran:] == [job.stage]
    assert sorted(runtime.ran) == sorted(runtime.loaded)


def test_a_further_head_runs_once_and_what_is_above_it_at_most_once(tiny: TinyZoo, zoo: Zoo) -> None:
    runtime = Recording()
    before = load_plan(zoo, runtime)
    tiny.publish(zoo, "urgency")
    for job in warm_up_jobs(load_plan(zoo, runtime, before=before), runtime, before):
        job.run()
    assert runtime.ran == ["tiny/0", "tiny/1", "urgency"]


def test_a_plan_that_runs_already_needs_no_warming_up(zoo: Zoo) -> None:
    loaded = load_plan(zoo, Recording())
    assert list(warm_up_jobs(load_plan(zoo, Recording(), before=loaded), Recording(), loaded)) == []


def test_a_stage_that_does_not_run_names_its_cause_and_the_versions_that_it_costs(tiny: TinyZoo, zoo: Zoo) -> None:
    runtime = Recording(broken={"tiny/1"})
    loaded = load_plan(zoo, runtime)
    for job in warm_up_jobs(loaded, runtime, empty_plan()):
        if job.stage == "tiny/1":
            assert job.versions == {loaded.plan.resolve("intent")[0].digest}
            with pytest.raises(StageFailed, match=r"'tiny/1' failed .* The cause: no kernel for this operator"):
                job.run()
        elif job.stage != "intent":
            job.run()
