"""Evaluation: scores, resolution sweeps, predictions for single images, and where glimpse pyramids look in them."""

from .evaluate import Evaluation, evaluate
from .glimpses import draw_glimpses
from .metrics import Scores, score
from .predict import predict

__all__ = ["Evaluation", "Scores", "draw_glimpses", "evaluate", "predict", "score"]
