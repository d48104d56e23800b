"""The plan of a run, stages and learning rates by epoch, and whether a run that is under way may follow another one."""

from __future__ import annotations

from ..curricula import Curriculum, create_curriculum
from ..errors import CheckpointError
from ..recipes import Recipe
from ..recipes.schedule import drops, share_of_peak

__all__ = ["check_replanned", "plan"]

_POINTS = 16  # of an epoch, at which its learning rates are compared


def plan(recipe: Recipe) -> Curriculum:
    """Return a recipe's curriculum, planned for its epochs and the drops of its schedule.

    Raises:
        CurriculumZooError: it cannot be planned.
    """
    curriculum = create_curriculum(recipe.curriculum, epochs=recipe.epochs, seed=recipe.seed)
    return curriculum.with_learning_rate_drops(drops(recipe.schedule, recipe.epochs))


def check_replanned(before: Recipe, now: Recipe, epochs: int) -> None:
    """Check that a run may go on with another number of epochs: what was trained is what the new plan would have done.

    Args:
        before: the recipe that the run was trained by.
        now: the same, but for its number of epochs.
        epochs: that were begun.

    Raises:
        CheckpointError: stages or learning rates of these epochs would have been others, or they are more than `now`
            has; the text says which.
    """
    if before.epochs == now.epochs or not epochs:
        return
    refused = f"A run of {before.epochs} epochs cannot go on as one of {now.epochs}:"
    other = "Start one of that length in another folder."
    if epochs > now.epochs:
        raise CheckpointError(f"{refused} {epochs} were begun already. {other}")
    old, new = plan(before), plan(now)
    for epoch in range(epochs):
        was, would_be = old.stage(epoch), new.stage(epoch)
        if was != would_be:
            raise CheckpointError(
                f"{refused} the curriculum '{now.curriculum}' plans stage '{would_be.name}' for epoch {epoch} in place "
                f"of '{was.name}', or what cannot be known to be the same. {other}"
            )
        shares = [
            [
                share_of_peak(recipe.schedule, (epoch + point / _POINTS) / recipe.epochs, recipe.optimizer.peak_lr)
                for point in range(_POINTS)
            ]
            for recipe in (before, now)
        ]
        if shares[0] != shares[1]:
            raise CheckpointError(
                f"{refused} the schedule '{now.schedule.name}' spans the whole length, so that the learning rates of "
                f"epoch {epoch} would have been others; 'constant' without warmup does not. {other}"
            )
    # The optimiser's groups are divided by these, and its state is theirs.
    scales = [{stage.lr_scales for stage in curriculum.stages()} for curriculum in (old, new)]
    if scales[0] != scales[1]:
        raise CheckpointError(f"{refused} its stages scale the learning rates of other parts. {other}")
