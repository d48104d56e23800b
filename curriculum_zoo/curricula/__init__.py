"""Training curricula: from an epoch to what a network sees in it, and which of its parts learn."""

from .baseline import Baseline
from .curriculum import Curriculum, FollowOn, Overlay
from .easy_to_hard import EasyToHard
from .factory import create_curriculum, curriculum_from_dict
from .fixres import Fixres
from .freezing import Frozen, freeze
from .frozen_parts import Freeze
from .gradual_levels import GradualLevels
from .hrt import HRT
from .infobatch import Infobatch
from .low_frequency import LowFrequency
from .mix_size import MixSize
from .progressive_crops import ProgressiveCrops
from .progressive_resizing import ProgressiveResizing
from .progressive_sharpening import ProgressiveSharpening
from .prune import Prune
from .random_subset import RandomSubset
from .samples.rule import SampleRule, Selection
from .selective_backprop import SelectiveBackprop
from .self_paced import SelfPaced
from .stage import Stage
from .timeline import Timeline, TimelineRow
from .trd import TRD
from .watch import Watch

__all__ = [
    "HRT",
    "TRD",
    "Baseline",
    "Curriculum",
    "EasyToHard",
    "Fixres",
    "FollowOn",
    "Freeze",
    "Frozen",
    "GradualLevels",
    "Infobatch",
    "LowFrequency",
    "MixSize",
    "Overlay",
    "ProgressiveCrops",
    "ProgressiveResizing",
    "ProgressiveSharpening",
    "Prune",
    "RandomSubset",
    "SampleRule",
    "Selection",
    "SelectiveBackprop",
    "SelfPaced",
    "Stage",
    "Timeline",
    "TimelineRow",
    "Watch",
    "create_curriculum",
    "curriculum_from_dict",
    "freeze",
]
