import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import InvalidRequest, UnknownModel
from serving.plan import Node, Plan, ServedVersion, build_plan
from tests.support.fake_runtime import MASK, PREPROCESSING, served, stage, stage_names
from zoo.manifest import TensorPreprocessing

BODY = ["body/0", "body/1"]
OTHER_PREPROCESSING = TensorPreprocessing(tensors=(MASK, *PREPROCESSING.tensors[:1]))


def plan_of(*versions: ServedVersion) -> Plan:
    return build_plan(
        versions, {each.digest: each for version in versions for each in map(stage, stage_names(version))}
    )


def outline(node: Node) -> dict[str, object]:
    """Return the tree below ``node`` as names: versions as they print, stages as nested dicts."""
    below: dict[str, object] = {str(version): "ends" for version in node.versions}
    below.update({child.stage.name: outline(child) for child in node.children})
    return below


def test_versions_share_nodes_exactly_as_far_as_their_paths_agree() -> None:
    plan = plan_of(
        served("intent", [*BODY, "body/2", "intent"]),
        served("urgency", [*BODY, "body/2", "urgency"]),
        served("pii", [*BODY, "pii"]),
    )
    (root,) = plan.roots
    assert root.node.stage.name == "body/0"
    assert outline(root.node) == {
        "body/1": {
            "body/2": {"intent": {"intent@1": "ends"}, "urgency": {"urgency@1": "ends"}},
            "pii": {"pii@1": "ends"},
        }
    }


def test_an_equal_stage_after_a_different_one_is_not_shared() -> None:
    plan = plan_of(served("intent", ["body/0", "body/1", "x"]), served("urgency", ["body/0", "body/2", "x"]))
    ends = [node.path for node in plan.roots[0].node.walk() if node.versions]
    assert len(set(ends)) == 2


def test_different_preprocessing_shares_nothing() -> None:
    plan = plan_of(
        served("intent", [*BODY, "intent"]), served("urgency", [*BODY, "urgency"], preprocessing=OTHER_PREPROCESSING)
    )
    assert len(plan.roots) == 2


def test_a_version_may_end_where_another_goes_on() -> None:
    plan = plan_of(served("mood", ["body/0", "mood"]), served("detail", ["body/0", "mood", "tag"]))
    assert outline(plan.roots[0].node) == {"mood": {"mood@1": "ends", "tag": {"detail@1": "ends"}}}


def test_two_versions_of_one_path_end_at_one_node() -> None:
    plan = plan_of(served("intent", [*BODY, "intent"]), served("intent", [*BODY, "intent"], number=2, aliases={"b": 1}))
    (end,) = [node for node in plan.roots[0].node.walk() if node.versions]
    assert [version.number for version in end.versions] == [1, 2]


def test_a_node_needs_from_above_what_is_read_or_only_passed_on_below_it() -> None:
    plan = plan_of(served("intent", [*BODY, "intent"]), served("tag", ["body/0", "tag"]))
    needs = {node.stage.name: node.needs for node in plan.roots[0].node.walk()}
    assert needs == {
        "body/0": ("ids_NT", "mask_NT"),
        "body/1": ("mask_NT", "tokens_NT"),
        "intent": ("mask_NT", "tokens_NT"),
        "tag": ("mask_NT", "tokens_NT"),
    }


@given(st.lists(st.lists(st.sampled_from(["body/1", "body/2", "body/3"]), max_size=4), min_size=1, max_size=6))
def test_any_two_versions_meet_exactly_on_their_common_prefix(middles: list[list[str]]) -> None:
    versions = [served(f"h{index}", ["body/0", *middle, f"h{index}"]) for index, middle in enumerate(middles)]
    plan = plan_of(*versions)
    for left in versions:
        for right in versions:
            common = [a == b for a, b in zip(stage_names(left), stage_names(right), strict=False)]
            agreed = next((index for index, same in enumerate(common) if not same), len(common))
            ((left_route,), (right_route,)) = plan.routes([left]), plan.routes([right])
            assert len(set(left_route.paths) & set(right_route.paths)) == agreed


def test_a_number_an_alias_and_the_default_alias_all_resolve() -> None:
    old = served("intent", [*BODY, "intent"], number=7, aliases={"prod": 3})
    new = served("intent", [*BODY, "other"], number=8, aliases={"canary": 5})
    plan = plan_of(old, new)
    assert plan.resolve("intent") == (old, "prod", 3)
    assert plan.resolve("intent", "canary") == (new, "canary", 5)
    assert plan.resolve("intent", "8") == (new, "", 0)


def test_the_only_alias_is_the_default() -> None:
    version = served("intent", [*BODY, "intent"], aliases={"canary": 2})
    assert plan_of(version).resolve("intent") == (version, "canary", 2)


def test_several_aliases_without_prod_have_no_default() -> None:
    plan = plan_of(served("intent", [*BODY, "intent"], aliases={"canary": 2, "beta": 1}))
    with pytest.raises(UnknownModel, match="name one of 1, beta, canary"):
        plan.resolve("intent")


def test_an_unknown_head_is_refused_with_the_closest_name() -> None:
    plan = plan_of(served("intent", [*BODY, "intent"]), served("urgency", [*BODY, "urgency"]))
    with pytest.raises(UnknownModel, match=r"'intnet' is loaded\. Did you mean 'intent'"):
        plan.resolve("intnet")


def test_an_unknown_head_like_no_other_is_refused_with_what_there_is() -> None:
    plan = plan_of(served("intent", [*BODY, "intent"]), served("urgency", [*BODY, "urgency"]))
    with pytest.raises(UnknownModel, match="There is: intent, urgency"):
        plan.resolve("ocr")


def test_an_unknown_version_is_refused_with_what_there_is() -> None:
    plan = plan_of(served("intent", [*BODY, "intent"], number=7))
    with pytest.raises(UnknownModel, match=r"no version or alias '9' loaded\. There is: 7, prod"):
        plan.resolve("intent", "9")


def test_a_request_for_several_heads_visits_each_shared_node_once() -> None:
    intent, urgency = served("intent", [*BODY, "intent"]), served("urgency", [*BODY, "urgency"])
    (route,) = plan_of(intent, urgency).routes([intent, urgency, intent])
    assert len(route.paths) == len(set(route.paths)) == 4
    assert route.versions == (intent, urgency)


def test_heads_on_different_bodies_take_routes_of_their_own() -> None:
    intent, urgency = served("intent", ["body/0", "intent"]), served("urgency", ["body/0b", "urgency"])
    plan = plan_of(intent, urgency)
    assert [route.versions for route in plan.routes([intent, urgency])] == [(intent,), (urgency,)]


def test_asking_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="at least one"):
        plan_of(served("intent", [*BODY, "intent"])).routes([])


def test_versions_that_preprocess_differently_cannot_share_a_row() -> None:
    intent = served("intent", [*BODY, "intent"])
    urgency = served("urgency", [*BODY, "urgency"], preprocessing=OTHER_PREPROCESSING)
    with pytest.raises(InvalidRequest, match="intent@1, urgency@1"):
        plan_of(intent, urgency).routes([intent, urgency])


def test_a_version_of_another_plan_is_refused() -> None:
    with pytest.raises(UnknownModel, match="urgency@1 is not loaded"):
        plan_of(served("intent", [*BODY, "intent"])).routes([served("urgency", [*BODY, "urgency"])])
