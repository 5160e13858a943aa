"""The fit of the surrogate: it finds again the error model that its frames were drawn from."""

import math

import numpy as np
import pytest

from karpathy_control.bringup.resources import find
from karpathy_control.contracts.config import RobotConfig, SimConfig
from karpathy_control.contracts.types import Command, Pose2
from karpathy_control.contracts.world import Mover, Person, World
from karpathy_control.learning.sequences import Sequence, Truth
from karpathy_control.learning.surrogate import (
    area,
    both_below,
    check,
    fit,
    memory,
    residuals,
    say,
    window,
)
from karpathy_control.worlds.mujoco_world import MujocoWorld
from karpathy_control.worlds.robot import load_robot
from karpathy_control.worlds.surrogate import (
    BINS,
    CONTEXTS,
    LEVELS,
    PLAIN,
    RAYS,
    UNSEEN,
    ErrorModel,
    levels,
)

CAMERA = RobotConfig().camera_pose
MIDDLE = RAYS // 2  # the ray straight ahead


def test_the_truth_of_a_world_is_where_its_people_are():
    """Someone comes along y = 0 from x = 4 m: its front is 3.75 m off, a second later 2.75 m."""
    world = World('open', 1, (-6.0, -6.0, 6.0, 6.0), Pose2(), ((5.0, 5.0),), movers=(
        Mover(((0.0, 0.0, 3.0),), 0.5),), people=(Person(((4.0, 0.0), (-4.0, 0.0)), 1.0, 0.25),))
    sim = MujocoWorld(world, SimConfig(), load_robot(find('description', 'jackal.urdf.xacro')))
    truth = Truth(sim, (0.04, 0.5), 0.305)
    band, plane = truth()
    assert band[MIDDLE] == plane[MIDDLE] == pytest.approx(3.75, abs=0.01)
    while sim.time < 1.0:
        sim.step(Command())
    band, plane = truth()
    assert band[MIDDLE] == plane[MIDDLE] == pytest.approx(4.0 - 1.0 - 0.25, abs=0.3)
    front = sim.people()[0, 0] - sim.true_state().x - 0.25
    assert plane[MIDDLE] == pytest.approx(front, abs=0.05)
    assert plane[MIDDLE + RAYS // 4] == pytest.approx(2.5, abs=0.02)  # the one that stands
    assert np.isinf(plane[0])  # nobody stands at the origin
SHAPE = (len(CONTEXTS), len(BINS))


def known(stay=(0.8, 0.6), aside=(0.5, 0.3), new=(0.1, 0.2)):
    """Other chances and spreads in every bin, and a bias."""
    step = np.arange(len(BINS)) / len(BINS)
    return ErrorModel(
        144, 5.0, np.broadcast_to(0.05 + 0.1 * step, SHAPE).copy(),
        np.broadcast_to(0.25 - 0.1 * step, SHAPE).copy(),
        np.broadcast_to(0.02 + (0.01 + 0.1 * step[:, None]) * levels(), (*SHAPE, LEVELS)).copy(),
        *(np.repeat(pair, len(CONTEXTS)).reshape(2, -1) for pair in (stay, aside, new)))


def synthetic(model, worlds=20, count=400, seed=0):
    """Frames whose nearest thing changes slowly, half of them with something only seen."""
    rng, out = np.random.default_rng(seed), []
    for k in range(worlds):
        distance = np.exp(rng.uniform(math.log(0.5), math.log(8.0), count // 20)).repeat(20)
        truth = np.repeat(distance[:, None], RAYS, 1).astype(np.float32)
        plane = truth * (3.0 if k % 2 else 1.0)
        nothing = np.zeros_like(truth)
        sequence = Sequence(truth, plane, nothing, nothing)
        out.append(Sequence(truth, plane, say(model.draw(CAMERA), sequence, 100 * seed + k),
                            nothing))
    return out


def compare(sequences, model):
    view = model.draw(CAMERA).shows
    return [residuals(s.truth, s.plane, s.learned, model.cells, model.limit, view)
            for s in sequences]


def test_the_fit_finds_the_model_again():
    model = known()
    found = compare(synthetic(model), model)
    got = fit(found, model.cells, model.limit)
    inner = [BINS.index(b) for b in (0.8, 1.2, 1.8, 2.5, 3.5)]
    for b in inner:
        for i in (PLAIN, UNSEEN) if BINS[b] < 1.8 else (PLAIN,):
            # frames are alike: a few hundred of them are new, whatever the number of cells
            assert got.wrong[i, b] == pytest.approx(model.wrong[i, b], abs=0.04)
            assert got.unknown[i, b] == pytest.approx(model.unknown[i, b], abs=0.05)
            middle = LEVELS // 2
            assert got.shift[i, b, middle] == pytest.approx(0.02, abs=0.02)
            spread = (got.shift[i, b, middle + 2] - got.shift[i, b, middle - 2]) / 2.0
            assert spread == pytest.approx(0.01 + 0.1 * b / len(BINS), rel=0.25, abs=0.01)
    for context in (PLAIN, UNSEEN):
        for name in ('stay', 'aside', 'new'):
            np.testing.assert_allclose(getattr(got, name)[:, context],
                                       getattr(model, name)[:, context], atol=0.08)


def test_a_classifier_cannot_tell_a_model_from_itself_but_from_another():
    model, body = known(), RobotConfig()
    sequences = synthetic(model, 12, 200, seed=3)
    assert check(model, 'learned', sequences, body) < 0.56
    assert check(known(stay=(0.0, 0.0)), 'learned', sequences, body) > 0.7


@pytest.mark.parametrize('r', [0.0, 0.3, 0.8])
def test_two_normals_below_the_median(r):
    """Sheppard (1899): 1/4 + asin(r) / (2 pi)."""
    zero = np.zeros(1)
    assert both_below(zero, zero, r)[0] == pytest.approx(0.25 + math.asin(r) / (2 * math.pi),
                                                         abs=2e-4)
    assert both_below(zero - 1.0, zero + 9.0, r)[0] == pytest.approx(0.158655, abs=2e-4)


def test_memory_by_hand():
    # half of the variance new; 0.9 a frame: 0.45 after one, 0.5 * 0.9^4 = 0.328 after four
    stay, aside, new = memory(0.45, 0.5 * 0.9**4, 0.5 * 0.7)
    assert (stay, aside, new) == pytest.approx((0.9, 0.7, 0.5))
    assert memory(0.0, 0.0, 0.0)[1] < 0.01
    assert memory(0.5, -0.1, 0.2)[0] >= 0.5


def test_few_samples_borrow_of_their_neighbours_on_one_side_of_the_limit():
    counts = np.zeros(len(BINS), int)
    counts[[2, 4, 9]] = 200, 200, 1000  # 5.0 m is bin 9
    assert window(counts, 3, 5.0).tolist() == [2, 3, 4]
    assert window(counts, 9, 5.0).tolist() == [9]
    assert window(counts, 12, 5.0).tolist() == [9, 10, 11, 12]
    assert window(np.zeros(len(BINS), int), 0, 5.0).tolist() == list(range(9))


def test_area_under_the_curve_by_hand():
    # of six pairs: 3 > 1, 3 > 2, 2 > 1 and half of 2 = 2; 0 above none
    assert area(np.array([3.0, 2.0, 0.0]), np.array([1.0, 2.0])) == pytest.approx(3.5 / 6.0)
