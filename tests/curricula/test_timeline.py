"""A plan as a table."""

import dataclasses

import pytest
import torch
from plans import BUILT_IN

from curriculum_zoo.curricula import HRT, TRD, Curriculum, Stage, create_curriculum


def test_timeline_has_a_row_for_each_run_of_equal_epochs():
    rows = HRT(epochs=10).timeline()
    assert [(row.first, row.last, row.name, row.resolution, row.frozen, row.view, row.cost) for row in rows] == [
        (0, 3, "edges", "full", "depth 0.5–1", "SobelEdges", 1.0),
        (4, 9, "full", "full", "", "", 1.0),
    ]
    assert rows[1].notes == "fresh optimizer"
    assert len(HRT(epochs=6, edges=None, freeze=None).timeline()) == 2


def test_timeline_is_a_table_without_empty_columns():
    lines = str(TRD(epochs=4, participation=1.0, drops=(4,)).timeline(32)).splitlines()
    assert lines[0].split() == ["epochs", "stage", "resolution", "cost", "view"]
    assert set(lines[1]) == {"─"}
    assert lines[2].split() == ["0–1", "50", "%", "16", "px", "25%", "Resize(16)"]
    assert lines[3].split() == ["2–3", "full", "32", "px", "100%"]
    assert all(len(line) <= len(lines[1]) for line in lines)


@pytest.mark.parametrize("name", BUILT_IN)
def test_timeline_covers_every_epoch_once(name):
    for image_size in (None, 32):
        rows = create_curriculum(name, epochs=15).timeline(image_size)
        assert [epoch for row in rows for epoch in range(row.first, row.last + 1)] == list(range(15))
    costs = sum((row.last - row.first + 1) * row.cost for row in rows) / 15
    assert costs == pytest.approx(create_curriculum(name, epochs=15).relative_cost(32))


def test_timeline_tells_what_else_a_stage_asks_for():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Odd(Curriculum):
        def _stage(self, epoch: int) -> Stage:
            return Stage(name="odd", view=torch.neg, image_size=8, levels=2, augment_strength=3.0, scale_batch=True)

    (row,) = Odd(epochs=2).timeline(16)
    assert (row.view, row.resolution, row.cost) == ("neg", "8 px", 0.25)
    assert row.notes == "2 levels, augmentation 3, batch ×4"
    (row,) = Odd(epochs=2).timeline()
    assert (row.resolution, row.cost) == ("8 px", None)
