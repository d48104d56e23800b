"""Training curricula: from an epoch to what a network sees in it, and which of its parts learn."""

from ..catalogue import list_curricula
from .baseline import Baseline
from .compose import FollowOn, Overlay
from .factory import create_curriculum, curriculum_from_dict
from .fixres import Fixres
from .freezing import Frozen, freeze
from .frozen_parts import Freeze
from .gradual_levels import GradualLevels
from .hrt import HRT
from .low_frequency import LowFrequency
from .progressive_resizing import ProgressiveResizing
from .progressive_sharpening import ProgressiveSharpening
from .stage import Curriculum, Stage
from .timeline import Timeline, TimelineRow
from .trd import TRD

__all__ = [
    "HRT",
    "TRD",
    "Baseline",
    "Curriculum",
    "Fixres",
    "FollowOn",
    "Freeze",
    "Frozen",
    "GradualLevels",
    "LowFrequency",
    "Overlay",
    "ProgressiveResizing",
    "ProgressiveSharpening",
    "Stage",
    "Timeline",
    "TimelineRow",
    "create_curriculum",
    "curriculum_from_dict",
    "freeze",
    "list_curricula",
]
