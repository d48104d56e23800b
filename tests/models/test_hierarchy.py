"""The pooling that levels share, and the projections behind it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from curriculum_zoo.models.hierarchy import LevelSum, Projection, average_pool

sides = st.integers(1, 24)


@given(image=st.tuples(sides, sides), copy=st.tuples(sides, sides), like=st.tuples(sides, sides))
def test_pooling_through_any_copy_equals_pooling_the_image_itself(image, copy, like):
    torch.manual_seed(0)
    whole = torch.randn(1, 2, *image, dtype=torch.float64)
    pooled = F.adaptive_avg_pool2d(whole, copy)
    result = average_pool(whole, pooled, torch.empty(1, 1, *like))
    torch.testing.assert_close(result, F.adaptive_avg_pool2d(whole, like))


def test_pooling_of_whole_ratios_reads_the_small_copy_alone():
    image, copy = torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 8, 8)
    assert (average_pool(image, copy, torch.empty(1, 1, 4, 4)) == 1).all()


def test_pooling_of_odd_ratios_reads_the_image_itself():
    image, copy = torch.zeros(1, 1, 17, 17), torch.ones(1, 1, 9, 9)
    assert (average_pool(image, copy, torch.empty(1, 1, 5, 5)) == 0).all()


def test_a_copy_of_the_right_size_is_handed_on_as_it_is():
    image, copy = torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 4, 4)
    assert average_pool(image, copy, torch.empty(1, 1, 4, 4)) is copy


def test_a_fresh_projection_adds_nothing_but_learns():
    torch.manual_seed(0)
    projection = Projection(3, 5)
    out = projection(torch.randn(4, 3, 6, 6))
    assert out.shape == (4, 5, 6, 6)
    assert (out == 0).all()
    (out * torch.randn_like(out)).sum().backward()
    assert projection.bn.weight.grad.abs().min() > 0
    assert projection.conv.bias is None


def test_a_level_sum_leaves_what_it_adds_to_untouched():
    torch.manual_seed(0)
    level_sum = LevelSum({0: 2, 1: 3}, 4, nn.ReLU(inplace=True))
    for name in ("from0", "from1"):
        nn.init.ones_(getattr(level_sum, name).bn.weight)
    levels = [torch.randn(2, 2, 8, 8), torch.randn(2, 3, 4, 4)]
    x = torch.randn(2, 4, 4, 4)
    before = [x.clone(), *(level.clone() for level in levels)]
    out = level_sum(x, levels, list(levels))
    expected = x.clone()
    for name, source in (("from0", F.avg_pool2d(levels[0], 2)), ("from1", levels[1])):
        part = getattr(level_sum, name)
        expected += F.batch_norm(F.conv2d(source, part.conv.weight), None, None, torch.ones(4), None, training=True)
    torch.testing.assert_close(out, expected.relu())
    for now, then in zip([x, *levels], before, strict=True):
        assert torch.equal(now, then)


def test_fusing_twice_is_fusing_once():
    projection = Projection(3, 5).eval()
    projection.bn.running_mean.uniform_(-1, 1)
    nn.init.uniform_(projection.bn.weight)
    x = torch.randn(2, 3, 4, 4)
    expected = projection(x)
    projection.fuse()
    once = projection.conv
    projection.fuse()
    assert projection.conv is once
    torch.testing.assert_close(projection(x), expected, atol=1e-5, rtol=0)
    assert isinstance(projection.bn, nn.Identity)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_parameters_are_made_in_the_type_asked_for(dtype):
    assert {parameter.dtype for parameter in Projection(2, 2, dtype=dtype).parameters()} == {dtype}
