"""Evaluation: scores, resolution sweeps, predictions for single images, and what adaptive networks look at in them."""

from .calibration import Calibration
from .early_exit import EarlyExit, early_exit
from .evaluate import Evaluation, evaluate
from .explanations import Explanation, explain
from .metrics import Scores, score
from .predict import predict
from .robustness import Robustness, summarize_robustness

__all__ = [
    "Calibration",
    "EarlyExit",
    "Evaluation",
    "Explanation",
    "Robustness",
    "Scores",
    "early_exit",
    "evaluate",
    "explain",
    "predict",
    "score",
    "summarize_robustness",
]
