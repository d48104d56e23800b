"""Evaluation: scores, resolution sweeps, predictions for single images."""

from .evaluate import evaluate
from .metrics import Scores, score
from .predict import predict

__all__ = ["Scores", "evaluate", "predict", "score"]
