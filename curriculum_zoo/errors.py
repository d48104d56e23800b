"""Every error that curriculum_zoo raises on purpose: what went wrong, why, and what to do about it."""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "ComparisonError",
    "CurriculumError",
    "CurriculumWarning",
    "CurriculumZooError",
    "DataError",
    "DocumentError",
    "ModelError",
    "NameClashError",
    "PluginError",
    "PluginWarning",
    "PublishError",
    "RecipeError",
    "TrainingError",
    "TrainingInterrupted",
    "UnknownNameError",
    "WeightsError",
    "WeightsWarning",
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


class CurriculumWarning(UserWarning):
    """A curriculum that does less in this network than its words say: nothing is frozen of one too shallow, say."""


class DataError(CurriculumZooError, ValueError):
    """Images or labels that are missing, unreadable or malformed."""


class DocumentError(CurriculumZooError, ValueError):
    """A text, JSON or TOML file that cannot be read; its readers make it an error of their own kind."""


class RecipeError(CurriculumZooError, ValueError):
    """A recipe with an unknown field, a value of the wrong type, or one out of range."""


class TrainingError(CurriculumZooError, RuntimeError):
    """A run that cannot go on: numbers not finite, memory exhausted, precision not available."""


class CheckpointError(CurriculumZooError, RuntimeError):
    """A run folder or checkpoint that is missing, damaged, or belongs to another recipe."""


class WeightsError(CurriculumZooError, RuntimeError):
    """Weights that are missing, damaged, or do not fit the network."""


class ComparisonError(CurriculumZooError, ValueError):
    """A comparison whose grid makes no sense, or whose runs cannot be compared."""


class PublishError(CurriculumZooError, RuntimeError):
    """A run that is not fit to be published, or a Hub that does not take it."""


class TrainingInterrupted(KeyboardInterrupt):
    """A training that ended by Ctrl-C or SIGTERM, after its checkpoint was written; no `Exception`, as Ctrl-C is none.

    Attributes:
        signal: the signal's number; 128 more is the conventional exit code.
    """

    def __init__(self, text: str, signal: int) -> None:
        super().__init__(text, signal)
        self.signal = signal

    def __str__(self) -> str:
        return str(self.args[0])


class PluginWarning(UserWarning):
    """A plugin that is passed over: it claims a built-in name, say."""


class WeightsWarning(UserWarning):
    """Weights of which a part is taken, or one of several: the text says which."""
