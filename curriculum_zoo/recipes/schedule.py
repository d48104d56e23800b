"""Learning-rate schedules as pure functions of how far training is.

No object counts steps, so a resumed run, a fresh optimiser in the middle and a change of batch size need no care.
"""

from __future__ import annotations

import math

from .recipe import Schedule

__all__ = ["drops", "share_of_peak"]


def share_of_peak(schedule: Schedule, progress: float, peak: float = 1.0) -> float:
    """Return the learning rate as a share of its peak.

    Args:
        schedule: which schedule.
        progress: share of training done, 0 to 1.
        peak: the peak, which matters only where the schedule states the last rate itself.
    """
    end = schedule.end if schedule.end_lr is None else schedule.end_lr / peak
    if schedule.name == "onecycle":
        if progress < schedule.warmup:
            return _half_cosine(schedule.start, 1.0, progress / schedule.warmup)
        return _half_cosine(1.0, end, (progress - schedule.warmup) / (1 - schedule.warmup))
    if progress < schedule.warmup:
        return schedule.start + (1 - schedule.start) * progress / schedule.warmup
    if schedule.name == "cosine":
        return _half_cosine(1.0, end, (progress - schedule.warmup) / (1 - schedule.warmup))
    if schedule.name == "linear":
        share = (progress - schedule.warmup) / (1 - schedule.warmup)
        return 1.0 + (end - 1.0) * min(1.0, share)
    if schedule.name == "step":
        return math.prod(schedule.gamma for milestone in schedule.milestones if progress >= milestone)
    return 1.0


def drops(schedule: Schedule, epochs: int) -> tuple[int, ...]:
    """Return the epochs that start at a lower rate than the one before them, under a step schedule; else none.

    They are those of `share_of_peak`: the product of a milestone and the epochs may round to the next epoch.

    Args:
        schedule: which schedule.
        epochs: length of training.
    """
    if schedule.name != "step":
        return ()
    shares = [share_of_peak(schedule, epoch / epochs) for epoch in range(epochs)]
    return tuple(epoch for epoch in range(1, epochs) if shares[epoch] < shares[epoch - 1])


def _half_cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * min(1.0, share))) / 2
