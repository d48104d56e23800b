"""Learning-rate schedules, against torch's own schedulers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from curriculum_zoo.recipes import Schedule
from curriculum_zoo.recipes.schedule import drops, share_of_peak

PEAK = 0.4


def torch_rates(make_scheduler, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK, momentum=0.9)
    scheduler = make_scheduler(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_onecycle_equals_torchs_where_its_grid_meets_ours():
    # torch reaches its last rate one step early, at step total - 1; its phases end at whole steps.
    steps, warmup = 101, 0.25
    schedule = Schedule(name="onecycle", warmup=warmup, start=0.04, end=1e-4)
    expected = torch_rates(
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            PEAK,
            total_steps=steps,
            pct_start=(warmup * 100 + 1) / steps,
            div_factor=25,
            final_div_factor=400,
        ),
        steps,
    )
    ours = [PEAK * share_of_peak(schedule, step / (steps - 1)) for step in range(steps)]
    assert ours == pytest.approx(expected, rel=1e-9)


def test_cosine_equals_torchs_annealing():
    schedule = Schedule(name="cosine", warmup=0.0, end=0.01)
    expected = torch_rates(
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=60, eta_min=0.01 * PEAK), 60
    )
    assert [PEAK * share_of_peak(schedule, step / 60) for step in range(60)] == pytest.approx(expected, rel=1e-9)


def test_one_last_rate_for_groups_of_all_peaks_equals_torchs_annealing():
    peaks = [1e-5, 5e-5, 1e-3]
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in peaks]
    groups = [{"params": [parameter], "lr": peak} for parameter, peak in zip(parameters, peaks, strict=True)]
    optimizer = torch.optim.Adam(groups)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40, eta_min=1e-5)
    schedule = Schedule(name="cosine", warmup=0.0, end_lr=1e-5)
    for step in range(40):
        ours = [peak * share_of_peak(schedule, step / 40, peak) for peak in peaks]
        assert ours == pytest.approx([group["lr"] for group in optimizer.param_groups], rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_step_equals_torchs_multistep():
    schedule = Schedule(name="step", warmup=0.0, milestones=(0.5, 0.75), gamma=0.1)
    expected = torch_rates(
        lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[20, 30], gamma=0.1), 40
    )
    assert [PEAK * share_of_peak(schedule, step / 40) for step in range(40)] == pytest.approx(expected, rel=1e-12)


def test_drops_are_where_the_product_of_milestone_and_epochs_rounds_up():
    # 0.55 * 100 is 55.00000000000001 in floating point, and the rate drops at epoch 55.
    assert drops(Schedule(name="step", warmup=0.0, milestones=(0.55,)), 100) == (55,)
    assert drops(Schedule(name="step", warmup=0.0, milestones=(0.07, 0.14, 0.28)), 100) == (7, 14, 28)


def test_no_epoch_starts_at_a_lower_rate_where_the_last_drop_falls_into_the_last_epoch():
    assert drops(Schedule(name="step", milestones=(0.5, 0.99)), 10) == (5,)


@given(
    epochs=st.integers(1, 400),
    # Most recipes write few decimals, whose products are those that round.
    milestones=st.lists(st.integers(1, 999).map(lambda n: n / 1000) | st.floats(0.001, 0.999), max_size=4, unique=True),
    warmup=st.sampled_from([0.0, 0.1, 0.5]),
    gamma=st.floats(0.01, 1),
)
def test_drops_are_the_epochs_at_whose_start_the_rate_falls(epochs, milestones, warmup, gamma):
    schedule = Schedule(name="step", warmup=warmup, start=1.0, milestones=tuple(sorted(milestones)), gamma=gamma)
    rates = [
        share_of_peak(schedule, (epoch + 0 / 7) / epochs) for epoch in range(epochs)
    ]  # step 0 of 7, as in training
    assert drops(schedule, epochs) == tuple(e for e in range(1, epochs) if rates[e] < rates[e - 1])


def test_linear_equals_torchs_descent():
    schedule = Schedule(name="linear", warmup=0.0, end=0.07)
    expected = torch_rates(
        lambda optimizer: torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.07, total_iters=50), 51
    )
    assert [PEAK * share_of_peak(schedule, step / 50) for step in range(51)] == pytest.approx(expected, rel=1e-9)


@given(
    name=st.sampled_from(["constant", "cosine", "linear", "onecycle", "step"]),
    warmup=st.floats(0, 0.9),
    start=st.floats(0, 1),
    progress=st.floats(0, 1),
)
def test_share_stays_between_zero_and_the_peak(name, warmup, start, progress):
    share = share_of_peak(Schedule(name=name, warmup=warmup, start=start), progress)
    assert 0 <= share <= 1 + 1e-12


@pytest.mark.parametrize("name", ["constant", "cosine", "linear", "onecycle", "step"])
def test_warmup_rises_from_start_to_peak(name):
    schedule = Schedule(name=name, warmup=0.2, start=0.1)
    rates = [share_of_peak(schedule, progress / 100) for progress in range(21)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[20] == pytest.approx(1.0)
    assert rates == sorted(rates)
