"""HiResNets under torchvision's RetinaNet, and as dense feature extractors."""

import torch
from torchvision.models.detection import RetinaNet

from curriculum_zoo.models import create_model
from curriculum_zoo.models.detection import feature_pyramid


def test_retinanet_learns_on_a_hiresnet_through_its_hierarchical_projections():
    torch.manual_seed(0)
    backbone = feature_pyramid("hiresnet18", out_channels=32)
    detector = RetinaNet(backbone, num_classes=4, min_size=96, max_size=128)
    images = [torch.rand(3, 96, 120), torch.rand(3, 100, 96)]
    targets = [
        {"boxes": torch.tensor([[8.0, 10.0, 60.0, 70.0]]), "labels": torch.tensor([1])},
        {"boxes": torch.tensor([[4.0, 4.0, 40.0, 90.0], [30.0, 20.0, 80.0, 60.0]]), "labels": torch.tensor([2, 3])},
    ]
    losses = detector.train()(images, targets)
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    sum(losses.values()).backward()
    projections = backbone.body.model.projections()
    assert len(projections) == 6
    assert all(part.bn.weight.grad.abs().sum() > 0 for part in projections.values())
    with torch.no_grad():
        for found in detector.eval()(images):
            assert found["boxes"].shape[1] == 4
            assert found["scores"].shape == found["labels"].shape


def test_the_pyramid_has_five_levels_of_one_width_from_an_eighth_down():
    pyramid = feature_pyramid("hiresnet18", out_channels=16).eval()
    levels = pyramid(torch.randn(1, 3, 64, 64))
    assert [tuple(level.shape) for level in levels.values()] == [(1, 16, side, side) for side in (8, 4, 2, 1, 1)]
    assert pyramid.out_channels == 16


def test_dense_features_are_those_of_the_classifier():
    torch.manual_seed(0)
    dense = create_model("hiresnet18", features_only=True, out_indices=(4,)).eval()
    torch.manual_seed(0)
    classifier = create_model("hiresnet18").eval()
    images = torch.randn(1, 3, 75, 61)
    (features,) = dense(images)
    assert torch.equal(features, classifier.forward_features(images))
    assert features.shape == (1, 512, 3, 2)
