import pytest
import torch
from torch import nn

from curriculum_zoo.adapters.stage_keeper import StageKeeper, network_in
from curriculum_zoo.curricula import create_curriculum
from curriculum_zoo.errors import CurriculumError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalized(images):
    mean, std = (torch.tensor(values, dtype=images.dtype).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (images - mean) / std


def see(images, curriculum="hrt(edge_epochs=1)", epoch=0, network=None, **arguments):
    keeper = StageKeeper(create_curriculum(curriculum, epochs=2), **arguments)
    with keeper.applied(epoch, network) as view:
        return view(images)


@pytest.mark.parametrize(
    "curriculum", ["trd(participation=1)", "hrt(edge_epochs=1)", "progressive_sharpening(kernels=(3,1))"]
)
def test_normalised_images_are_seen_as_the_view_of_the_originals_normalised(curriculum, images, tiny_net):
    view = create_curriculum(curriculum, epochs=2).stage(0).view
    ours = see(normalized(images), curriculum, network=tiny_net(), normalized=(MEAN, STD))
    torch.testing.assert_close(ours, normalized(view(images)), rtol=0, atol=2e-5)


def test_half_precision_loses_no_more_than_its_own_rounding(images, tiny_net):
    half = normalized(images).to(torch.bfloat16)
    ours = see(half, "trd(participation=1)", normalized=(MEAN, STD))
    exact = see(half.double(), "trd(participation=1)", normalized=(MEAN, STD))
    assert ours.dtype == torch.bfloat16
    assert exact.dtype == torch.float64
    torch.testing.assert_close(ours.double(), exact, rtol=2**-8, atol=1e-5)


def test_full_images_are_handed_on_untouched(images):
    batch = normalized(images)
    assert see(batch, "baseline", normalized=(MEAN, STD)) is batch


def test_the_input_is_never_modified(images, tiny_net):
    batch = normalized(images)
    before = batch.clone()
    see(batch, network=tiny_net(), normalized=(MEAN, STD))
    assert torch.equal(batch, before)


def test_augmentation_of_the_stage_follows_the_curriculums_seed_the_epoch_and_the_image_alone(images):
    curriculum = "low_frequency(sizes=(0.5,0.5),augment_strength=(9,9))"
    seen = see(images, curriculum)
    assert seen.shape[-1] == 8
    torch.manual_seed(5)
    before = torch.get_rng_state()
    # As two processes, or a training gone on with in another batch size, would show them.
    torch.testing.assert_close(torch.cat([see(part, curriculum) for part in images.split(5)]), seen, rtol=0, atol=1e-6)
    assert torch.equal(torch.get_rng_state(), before)
    plain = create_curriculum(curriculum, epochs=2).stage(0).view(images)
    others = see(images, curriculum, epoch=1), see(images, f"{curriculum[:-1]},seed=1)"), plain
    for other in others:
        assert not torch.allclose(seen, other, atol=0.05)


@pytest.mark.parametrize(
    ("batch", "arguments", "told"),
    [
        (torch.rand(2, 3, 8, 8) * 255, {}, "state the mean"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), {}, "floating point"),
        (torch.rand(2, 8, 8), {}, r"\[N, C, H, W\]"),
        ([1, 2], {}, "a list"),
        (torch.rand(2, 1, 8, 8), {"normalized": (MEAN, STD)}, "1 channels"),
    ],
    ids=["8-bit range", "8-bit", "no channels", "no tensor", "other channels"],
)
def test_images_that_are_not_as_said_are_refused(batch, arguments, told, tiny_net):
    with pytest.raises(CurriculumError, match=told):
        see(batch, network=tiny_net(), **arguments)


def test_stages_larger_than_the_images_are_refused(images):
    with pytest.raises(CurriculumError, match="asks for 32 px"):
        see(images, "trd(resolution=32,participation=1)")


@pytest.mark.parametrize("pair", [((), ()), ((0.5,), (0.0,)), ((0.5, 0.5), (0.5,)), 0.5, ("a", "b")], ids=str)
def test_normalisation_that_is_none_is_refused(pair):
    with pytest.raises(CurriculumError, match="standard deviation above 0"):
        StageKeeper(create_curriculum("baseline", epochs=1), pair)


@pytest.mark.parametrize(
    ("curriculum", "arguments", "told"),
    [
        ("trd(scale_batch=true)", {}, "number of steps, is fixed"),
        ("trd(scale_batch=true)", {"scales_batches": True}, "image_size=224"),
        ("gradual_levels", {}, "set_levels=false"),
    ],
)
def test_what_a_loop_of_others_cannot_give_is_refused_when_it_is_made(curriculum, arguments, told):
    with pytest.raises(CurriculumError, match=told):
        StageKeeper(create_curriculum(curriculum, epochs=8), **arguments)
    StageKeeper(create_curriculum("gradual_levels(set_levels=false)", epochs=8))


def test_a_stated_side_that_is_not_the_images_is_refused(images):
    with pytest.raises(CurriculumError, match="have 16 px, and image_size is 32"):
        see(images, "trd(scale_batch=true)", scales_batches=True, image_size=32)


def test_rates_of_parameters_that_no_optimiser_has_are_refused(tiny_net):
    expression = "hrt(edge_epochs=1,freeze=none,edge_lr_scales=((layer{},2),))"
    known, unknown = (StageKeeper(create_curriculum(expression.format(number), epochs=2)) for number in (1, 9))
    other = torch.optim.SGD(tiny_net().parameters(), lr=1)
    for keeper, told in ((known, "no optimiser has these parameters"), (unknown, "'layer9' names no parameter")):
        with pytest.raises(CurriculumError, match=told), keeper.applied(0, tiny_net(), [other]):
            pass


def test_network_is_found_where_modules_hold_nothing_else(tiny_net):
    network = tiny_net()
    holder, outer = nn.Module(), nn.Module()
    holder.network, holder.loss = network, nn.CrossEntropyLoss()
    outer.holder = holder
    assert network_in(outer, None) is network
    assert network_in(outer, "holder.network.layer3") is network.layer3
    assert network_in(outer, "") is outer
    outer.other = nn.Linear(1, 1)
    assert network_in(outer, None) is outer
    with pytest.raises(CurriculumError, match="Its parts are: holder, other"):
        network_in(outer, "backbone")


def test_frozen_parts_need_ddp_to_expect_them(tiny_net, tmp_path):
    from torch import distributed

    keeper = StageKeeper(create_curriculum("hrt(edge_epochs=1)", epochs=2))
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        network = tiny_net()
        expecting = nn.parallel.DistributedDataParallel(network, find_unused_parameters=True)
        with keeper.applied(0, expecting, wrapped=expecting):
            assert not network.layer4[0].weight.requires_grad
        waiting = nn.parallel.DistributedDataParallel(network)
        with (
            pytest.raises(CurriculumError, match="find_unused_parameters=True"),
            keeper.applied(0, waiting, wrapped=waiting),
        ):
            pass
        with keeper.applied(1, waiting, wrapped=waiting):
            assert network.layer4[0].weight.requires_grad
    finally:
        distributed.destroy_process_group()
