"""Parts of a network by patterns."""

from curriculum_zoo.parameter_patterns import matching_names, no_match_message

NAMES = ["conv1.weight", "layer1.0.weight", "layer1.0.bias", "layer10.weight"]


def test_a_module_alone_means_all_of_it_and_no_more():
    assert matching_names("layer1", NAMES) == ["layer1.0.weight", "layer1.0.bias"]
    assert matching_names("*.bias", NAMES) == ["layer1.0.bias"]
    assert matching_names("layer1*", NAMES) == NAMES[1:]
    assert matching_names("layer", NAMES) == []


def test_a_part_that_is_none_is_told_with_what_there_is():
    told = no_match_message("conv", NAMES, "ResNet")
    assert told.startswith("'conv' names no parameter of ResNet. Did you mean 'conv1'?")
    assert told.endswith("Its parts are conv1.*, layer1.*, layer10.*.")
