"""Compiled, exported and traced networks give what eager ones give."""

import onnxruntime
import pytest
import torch
from torch import nn

from curriculum_zoo.models import create_model

DEEP = pytest.mark.slow
NAMES = [
    pytest.param("hiresnet20_cifar", {"side": "both"}),
    pytest.param("airbench94", {}, marks=DEEP),
    pytest.param("resnet20_cifar", {}, marks=DEEP),
    pytest.param("simple_cnn", {}, marks=DEEP),
    pytest.param("hiresnet18", {}, marks=DEEP),
    pytest.param("hiresnet18", {"sources": "all", "residual": False}, marks=DEEP),
    pytest.param("hiresnext50_32x4d", {}, marks=DEEP),
]
each_network = pytest.mark.parametrize(("name", "options"), NAMES)


def network(name, options):
    torch.manual_seed(0)
    model = create_model(name, **options).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.2, 0.5)
    size = 33 if name == "hiresnet18" else 32
    return model, torch.randn(2, 3, size, size)


@pytest.mark.slow
@each_network
def test_the_whole_network_compiles_into_one_graph(name, options):
    model, images = network(name, options)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(images), model(images))
    compiled.train()
    compiled(images).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)


@pytest.mark.slow
@each_network
def test_code_compiled_by_inductor_gives_the_same_outputs(name, options):
    model, images = network(name, options)
    torch.compiler.reset()
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, fullgraph=True)(images), model(images), atol=1e-4, rtol=1e-4)


@each_network
def test_exported_programs_take_batches_of_any_size(name, options):
    model, images = network(name, options)
    batch = torch.export.Dim("batch", min=1, max=512)
    program = torch.export.export(model, (images,), dynamic_shapes=({0: batch},)).module()
    more = torch.cat([images, images.flip(0), images[:1]])
    torch.testing.assert_close(program(more), model(more))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["airbench94", "hiresnet20_cifar", "hiresnet18"])
def test_exported_programs_can_take_images_of_any_size(name):
    model, _ = network(name, {})
    auto = torch.export.Dim.AUTO
    shapes = ({0: auto, 2: auto, 3: auto},)
    program = torch.export.export(model, (torch.randn(2, 3, 64, 64),), dynamic_shapes=shapes).module()
    for size in ((64, 64), (128, 96), (97, 61)):
        images = torch.randn(3, 3, *size)
        torch.testing.assert_close(program(images), model(images))


def test_a_network_traced_at_one_size_takes_images_of_others():
    model, _ = network("hiresnet20_cifar", {"side": "both", "sources": "all"})
    traced = torch.jit.trace(model, torch.randn(1, 3, 32, 32))
    for size in ((32, 32), (48, 64), (37, 41)):
        images = torch.randn(2, 3, *size)
        torch.testing.assert_close(traced(images), model(images))


@pytest.mark.parametrize("size", [(32, 32), (37, 41)])
def test_onnx_files_by_tracing_give_the_same_outputs_in_onnxruntime(size, tmp_path):
    model, _ = network("hiresnet20_cifar", {"side": "both"})
    path, images = tmp_path / "model.onnx", torch.randn(1, 3, *size)
    torch.onnx.export(model, images, str(path), dynamo=False, verbose=False)
    session = onnxruntime.InferenceSession(path)
    (logits,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), model(images).detach(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hiresnet20_cifar", {"side": "both", "sources": "all"}),
        pytest.param("airbench94", {}, marks=DEEP),
        pytest.param("resnet20_cifar", {}, marks=DEEP),
        pytest.param("hiresnet18", {}, marks=DEEP),
        pytest.param("hiresnext50_32x4d", {}, marks=DEEP),
    ],
)
def test_onnx_files_by_tracing_take_images_of_any_size(name, options, tmp_path):
    """As timm's onnx_export.py writes them with --dynamic-size."""
    model, images = network(name, options)
    path, sizes = tmp_path / "model.onnx", {0: "batch", 2: "height", 3: "width"}
    names = {"input_names": ["images"], "output_names": ["logits"]}
    torch.onnx.export(model, images, str(path), dynamo=False, verbose=False, dynamic_axes={"images": sizes}, **names)
    session = onnxruntime.InferenceSession(path)
    for size in ((32, 32), (48, 64), (37, 41)):
        others = torch.randn(3, 3, *size)
        (logits,) = session.run(None, {"images": others.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), model(others).detach(), atol=1e-3, rtol=1e-3)


@pytest.mark.slow
@each_network
def test_onnx_files_give_the_same_outputs_in_onnxruntime(name, options, tmp_path):
    model, images = network(name, options)
    path = tmp_path / "model.onnx"
    batch = torch.export.Dim("batch", min=1, max=512)
    torch.onnx.export(model, (images,), path, dynamic_shapes=({0: batch},), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path)
    more = torch.cat([images, images.flip(0)])
    (logits,) = session.run(None, {session.get_inputs()[0].name: more.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), model(more).detach(), atol=1e-4, rtol=1e-4)
