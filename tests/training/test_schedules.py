"""Learning-rate factors: known values, PyTorch's one-cycle and cosine, and any length of run."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore.training import schedules


def test_constant_is_one():
    assert {schedules.constant()(i, 10) for i in range(10)} == {1.0}


def test_step_drops_at_fractions_of_the_run():
    factor = schedules.step((0.5, 0.75), 0.1)
    assert [round(factor(i, 8), 10) for i in range(8)] == [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]


def test_cosine_starts_at_one_and_passes_the_half():
    factor = schedules.cosine()
    assert factor(0, 100) == 1.0
    assert factor(50, 100) == pytest.approx(0.5)
    assert schedules.cosine(0.2)(100, 100) == pytest.approx(0.2)


def test_warm_up_rises_linearly_then_hands_over():
    factor = schedules.warm_up("cosine", steps=4)
    assert [factor(i, 12) for i in range(4)] == [0.25, 0.5, 0.75, 1.0]
    assert [factor(4 + i, 12) for i in range(8)] == [schedules.cosine()(i, 8) for i in range(8)]
    assert schedules.warm_up(fraction=0.1, start=0.5)(0, 20) == 0.75


@pytest.mark.parametrize("total", [10, 37, 100])
def test_one_cycle_and_cosine_follow_pytorch(total):
    torch = pytest.importorskip("torch")
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.5, total_steps=total, cycle_momentum=False
    )
    ours = schedules.one_cycle()
    for i in range(total):
        assert 0.5 * ours(i, total) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        if i < total - 1:
            theirs.step()
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total)
    for i in range(total):
        assert 0.5 * schedules.cosine()(i, total) == pytest.approx(
            optimizer.param_groups[0]["lr"], rel=1e-9
        )
        optimizer.step()
        theirs.step()


@given(st.sampled_from(schedules.names()), st.integers(1, 300), st.data())
def test_every_named_schedule_stays_between_zero_and_one(name, total, data):
    step = data.draw(st.integers(0, total - 1))
    factor = schedules.resolve(name)(step, total)
    assert math.isfinite(factor)
    assert 0.0 <= factor <= 1.0 + 1e-12


def test_a_callable_is_taken_as_it_is_and_none_is_constant():
    def mine(step, total):
        return 0.5

    assert schedules.resolve(mine) is mine
    assert schedules.resolve(None)(3, 7) == 1.0


def test_wrong_schedules_are_named():
    with pytest.raises(ValueError, match=r"schedule must be one of constant.*'linear'"):
        schedules.resolve("linear")
    with pytest.raises(TypeError, match=r"schedule must .*callable"):
        schedules.resolve(3)
    with pytest.raises(ValueError, match="milestones"):
        schedules.step((0.5, 30))
    with pytest.raises(ValueError, match="warm"):
        schedules.one_cycle(1.5)
    with pytest.raises(ValueError, match="steps"):
        schedules.warm_up(steps=-1)
