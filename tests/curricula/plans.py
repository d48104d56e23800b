"""What tests of plans share."""

from curriculum_zoo.curricula import Curriculum

BUILT_IN = ["baseline", "fixres", "freeze", "gradual_levels", "hrt", "low_frequency"]
BUILT_IN += ["mix_size", "progressive_crops", "progressive_resizing", "progressive_sharpening", "trd", "watch"]
CHOOSING = ["easy_to_hard", "infobatch", "prune", "random_subset", "self_paced", "selective_backprop"]
BUILT_IN += CHOOSING


def sides(curriculum: Curriculum, full: int) -> list[int]:
    """The side of the images in each epoch, for images of this full side."""
    return [stage.pixels(full) for stage in curriculum.stages()]
