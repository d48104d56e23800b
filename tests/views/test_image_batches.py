"""Exact matrix products, whatever the program allows them."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from curriculum_zoo.views import BoxBlur, LowFrequencyCrop, RandAugment, Resize
from curriculum_zoo.views.image_batches import exact_products

PRECISIONS = {"cuda": torch.backends.cuda.matmul, "cpu": torch.backends.mkldnn.matmul}
# The last one multiplies coordinates by a matrix.
PRODUCTS = (torch.ops.aten.mm, torch.ops.aten.bmm, torch.ops.aten.addmm, torch.ops.aten.affine_grid_generator)
REDUCED = {"cuda": "tf32", "cpu": "bf16"}


@pytest.fixture(autouse=True)
def _precisions_restored():
    before = {kind: matmul.fp32_precision for kind, matmul in PRECISIONS.items()}
    yield
    for kind, precision in before.items():
        PRECISIONS[kind].fp32_precision = precision


@pytest.mark.parametrize("kind", PRECISIONS)
def test_products_are_exact_inside_and_as_allowed_again_outside(kind):
    matmul, allowed = PRECISIONS[kind], REDUCED[kind]
    matmul.fp32_precision = allowed
    with exact_products(torch.device(kind)):
        assert matmul.fp32_precision == "ieee"
    assert matmul.fp32_precision == allowed
    with pytest.raises(KeyError), exact_products(torch.device(kind)):
        raise KeyError
    assert matmul.fp32_precision == allowed


def test_the_older_switch_for_all_products_still_answers_afterwards():
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with exact_products(torch.device("cuda")), exact_products(torch.device("cpu")):
            pass
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before)


class Products(TorchDispatchMode):
    """The precision that each matrix product of a ``with`` block was allowed."""

    def __init__(self):
        super().__init__()
        self.allowed = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket in PRODUCTS:
            self.allowed.append(torch.backends.mkldnn.matmul.fp32_precision)
            assert all(tensor.dtype == torch.float32 for tensor in args if isinstance(tensor, torch.Tensor))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("view", [BoxBlur(3), Resize(0.5), LowFrequencyCrop(0.5), RandAugment(9.0)], ids=repr)
def test_views_multiply_exactly_where_less_is_allowed(view):
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    with Products() as products, torch.autocast("cpu", torch.bfloat16):
        view(torch.rand(40, 3, 12, 12))
    assert products.allowed
    assert set(products.allowed) == {"ieee"}
