"""Parts of a network by patterns."""

from curriculum_zoo.parts import no_such_part, parts_named

NAMES = ["conv1.weight", "layer1.0.weight", "layer1.0.bias", "layer10.weight"]


def test_a_module_alone_means_all_of_it_and_no_more():
    assert parts_named("layer1", NAMES) == ["layer1.0.weight", "layer1.0.bias"]
    assert parts_named("*.bias", NAMES) == ["layer1.0.bias"]
    assert parts_named("layer1*", NAMES) == NAMES[1:]
    assert parts_named("layer", NAMES) == []


def test_a_part_that_is_none_is_told_with_what_there_is():
    told = no_such_part("conv", NAMES, "ResNet")
    assert told.startswith("'conv' names no parameter of ResNet. Did you mean 'conv1'?")
    assert told.endswith("Its parts are conv1.*, layer1.*, layer10.*.")
