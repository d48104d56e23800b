"""HRT: edges, frozen parts, blurs, and what it refuses."""

import pytest

from curriculum_zoo.curricula import HRT, Frozen, Stage
from curriculum_zoo.errors import CurriculumError
from curriculum_zoo.views import CannyEdges, GaussianBlur, SobelEdges

HALF = Frozen(depth=(0.5, 1.0), least_parts=4)


def test_hrt_is_four_epochs_of_frozen_edges_then_all_with_a_fresh_optimizer():
    plan = HRT(epochs=10).stages()
    assert plan[:4] == [Stage(name="edges", view=SobelEdges(), frozen=(HALF,))] * 4
    assert plan[4] == Stage(name="full", fresh_optimizer=True)
    assert plan[5:] == [Stage(name="full")] * 5


def test_the_arms_of_the_authors_ablation_are_options():
    edges = HRT(epochs=6, freeze=None, fresh_optimizer=False).stages()
    assert edges == [Stage(name="edges", view=SobelEdges())] * 4 + [Stage(name="full")] * 2
    freezing = HRT(epochs=6, edges=None, fresh_optimizer=False).stages()
    assert freezing == [Stage(name="frozen", frozen=(HALF,))] * 4 + [Stage(name="full")] * 2
    fresh = HRT(epochs=6, edges=None, freeze=None).stages()
    assert fresh == [Stage(name="full")] * 4 + [Stage(name="full", fresh_optimizer=True), Stage(name="full")]


def test_canny_patterns_and_held_statistics_are_options():
    stage = HRT(epochs=5, edges="canny", freeze=("layer4.*",), statistics="hold").stage(0)
    assert stage.view == CannyEdges(100, 200)
    assert stage.frozen == (Frozen(("layer4.*",), statistics="hold"),)
    assert HRT(epochs=5, freeze="layer4").stage(0).frozen == (Frozen(("layer4",)),)


def test_a_blur_phase_stands_between_edges_and_full_images():
    plan = HRT(epochs=10, edge_epochs=2, blur_epochs=4, blur_sizes=(5, 3)).stages()
    assert [stage.name for stage in plan] == ["edges"] * 2 + ["box 5"] * 2 + ["box 3"] * 2 + ["full"] * 4
    assert [stage.fresh_optimizer for stage in plan].index(True) == 2
    assert not plan[2].frozen
    gaussian = HRT(epochs=10, blur_epochs=1, blur="gaussian", blur_sizes=(1.5,)).stage(4)
    assert gaussian.view == GaussianBlur(1.5)


def test_staged_unfreezing_lets_ever_deeper_layers_learn_until_all_do():
    plan = HRT(epochs=8, edge_epochs=2, blur_epochs=2, unfreeze="staged", depth=0.2).stages()
    depths = [stage.frozen[0].depth for stage in plan if stage.frozen]
    assert [low for low, _ in depths] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert all(high == 1 for _, high in depths)
    assert [stage.fresh_optimizer for stage in plan] == [False] * 4 + [True] + [False] * 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 4}, "epochs must be at least 5"),
        ({"epochs": 6, "blur_epochs": 2}, "epochs must be at least 7"),
        ({"epochs": 20, "blur_epochs": 1, "blur_sizes": (5.0, 3.0)}, "blur_epochs must be at least 2"),
        ({"epochs": 20, "blur_epochs": 1, "blur_sizes": ()}, "at least one blur"),
        ({"epochs": 20, "blur_epochs": 1, "blur_sizes": (2.5,)}, "whole numbers"),
        ({"epochs": 20, "unfreeze": "staged", "freeze": ("layer4",)}, "needs freeze='auto'"),
        ({"epochs": 20, "edges": "prewitt"}, "'sobel', 'canny'"),
    ],
)
def test_hrt_refuses_what_it_cannot_plan(wrong, message):
    with pytest.raises(CurriculumError, match=message):
        HRT(**wrong)
