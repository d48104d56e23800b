"""Every error that curriculum_zoo raises on purpose: what went wrong, why, and what to do about it."""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "CurriculumError",
    "CurriculumZooError",
    "DataError",
    "ModelError",
    "NameClashError",
    "PluginError",
    "PluginWarning",
    "PublishError",
    "RecipeError",
    "TrainingError",
    "UnknownNameError",
    "WeightsError",
]


class CurriculumZooError(Exception):
    """Base of all errors raised on purpose; the command line prints its text alone and exits with code 2."""


class UnknownNameError(CurriculumZooError, LookupError):
    """A name that no registry entry has; the text offers the closest names there are."""


class NameClashError(CurriculumZooError, LookupError):
    """A name that two distributions claim; the text says how to select one of them."""


class PluginError(CurriculumZooError):
    """A plugin that cannot be imported, or that returns the wrong kind of thing."""


class ModelError(CurriculumZooError, ValueError):
    """A network that cannot be built, or cannot take the input it is given."""


class CurriculumError(CurriculumZooError, ValueError):
    """A curriculum whose parameters make no sense, alone or for the run at hand."""


class DataError(CurriculumZooError, ValueError):
    """Images or labels that are missing, unreadable or malformed."""


class RecipeError(CurriculumZooError, ValueError):
    """A recipe with an unknown field, a value of the wrong type, or one out of range."""


class TrainingError(CurriculumZooError, RuntimeError):
    """A run that cannot go on: numbers not finite, memory exhausted, precision not available."""


class CheckpointError(CurriculumZooError, RuntimeError):
    """A run folder or checkpoint that is missing, damaged, or belongs to another recipe."""


class WeightsError(CurriculumZooError, RuntimeError):
    """Weights that are missing, damaged, or do not fit the network."""


class PublishError(CurriculumZooError, RuntimeError):
    """A run that is not fit to be published, or a Hub that does not take it."""


class PluginWarning(UserWarning):
    """A plugin that is passed over: it claims a built-in name, say."""
