"""One answer from two backends: the world on torch against the kernels and by its arithmetic.

Tests named `on_device` run on the CPU and on CUDA where there is one.
"""

import dataclasses
import itertools
import math
import shutil

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from karpathy_control.contracts.config import ConfigError, ControlConfig, PolicyConfig, RobotConfig
from karpathy_control.contracts.config.sim import FAMILIES
from karpathy_control.contracts.layout import SCAN_BEAMS, scan_bearings
from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import Box, Cylinder, Mover, World
from karpathy_control.learning.loop import ClosedLoop, choose_leg
from karpathy_control.learning.rewards import TERMS, weighted_sum
from karpathy_control.learning.torch_geometry import Movers, Primitives, clearance
from karpathy_control.learning.torch_loop import OpenLoop
from karpathy_control.learning.torch_world import TorchWorld
from karpathy_control.worlds.bank import pack
from karpathy_control.worlds.batched import BatchedWorld, Leg
from karpathy_control.worlds.contact import polygon_to_polygon
from karpathy_control.worlds.generators import generate
from karpathy_control.worlds.traits import TRAITS
from karpathy_control.worlds.variation import Variation, none

ROBOT = RobotConfig()
ROUND = dataclasses.replace(ROBOT, footprint=tuple(  # 12 corners on a circle of 0.25 m
    float(0.25 * f(2.0 * math.pi * k / 12)) for k in range(12) for f in (math.cos, math.sin)))
STATE = ('time', 'true_pose', 'odom_pose', 'true_velocity', 'velocity', 'goal', 'clearance',
         'contact_speed', 'mover_xy')
CUDA = pytest.param('cuda', marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason='no CUDA device: not run against the kernels'))
DEVICES = ['cpu', CUDA]


def bank_of(family, count=4):
    return pack([generate(family, 300 + i) for i in range(count)])


def make_world(**parts):
    return World('test', 0, (-20.0, -20.0, 20.0, 20.0), Pose2(), ((5.0, 0.0),), **parts)


def both(bank, batch, variation, device='cpu', robot=ROBOT, seed=0):
    """A world of each backend with the same legs and seeds begun."""
    rng = np.random.default_rng(seed)
    legs = [choose_leg(bank, i % len(bank), i // len(bank), rng) for i in range(batch)]
    pair = (BatchedWorld(bank, batch, robot, variation),
            TorchWorld(bank, batch, robot, variation, device))
    for world in pair:
        world.reset(np.arange(batch), legs, np.arange(batch) + seed)
    return pair


def assert_same_state(kernels, tensors):
    for name in STATE:
        np.testing.assert_allclose(getattr(tensors, name).cpu().numpy(), getattr(kernels, name),
                                   rtol=0.0, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(tensors.contact.cpu().numpy(), kernels.contact)


def assert_same_scan(kernels, tensors):
    """To 0.1 mm, or between what is seen from 10 um and 10 urad to either side.

    A beam that grazes a corner goes either way, and so does who stands right on a surface.
    """
    found, expected = tensors.scan.cpu().numpy(), kernels.scan
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    same = np.isclose(found, expected, rtol=0.0, atol=1e-4, equal_nan=True)
    if same.all():
        return
    moved = []
    for axis, by in itertools.product(range(3), (-1e-5, 1e-5)):
        tip = BatchedWorld(kernels.bank, kernels.batch, kernels.robot, none())
        for name in ('true_pose', 'time', 'world', 'mover_xy'):
            getattr(tip, name)[:] = getattr(kernels, name)
        tip.true_pose[:, axis] += by
        tip._traits[:] = kernels._traits
        tip._sense(np.arange(kernels.batch))
        moved.append(tip.scan)
    around = np.stack((expected, *moved))
    inside = (found >= around.min(0) - 1e-4) & (found <= around.max(0) + 1e-4)
    assert (same | inside).all()


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('family', [name for name in FAMILIES if name != 'people'])
def test_both_backends_agree_on_device(family, device):
    """12 robots, 100 steps each, every family: 1,200 scans and poses, some robots in contact."""
    kernels, tensors = both(bank_of(family), 12, none(), device)
    rng = np.random.default_rng(1)
    for tick in range(100):
        if tick % 10 == 0:
            command = rng.uniform((-0.4, -2.0), (1.2, 2.0), (12, 2))
        assert_same_state(kernels, tensors)
        assert_same_scan(kernels, tensors)
        kernels.step(command)
        tensors.step(torch.from_numpy(command).to(device))
    assert 0 < kernels.contact.sum() < 12


@pytest.mark.parametrize('device', DEVICES)
def test_what_episodes_draw_is_the_same_on_device(device):
    """Delay, slip, drift and accelerations come from the seed, in both the same."""
    kernels, tensors = both(bank_of('moving'), 16, Variation(delay=(0.0, 0.3)), device, ROUND, 7)
    for name in TRAITS:
        np.testing.assert_array_equal(tensors.trait(name).cpu().numpy(), kernels.trait(name))
    rng = np.random.default_rng(2)
    for _ in range(60):
        command = rng.uniform((-0.4, -2.0), (1.2, 2.0), (16, 2))
        kernels.step(command)
        tensors.step(torch.from_numpy(command).to(device))
        assert_same_state(kernels, tensors)


boxes = st.builds(Box, *[st.floats(-3, 3)] * 2, *[st.floats(0.02, 1.5)] * 2, st.floats(-3.1, 3.1),
                  st.sampled_from([0.0, 0.2, 0.6]), st.sampled_from([0.03, 0.25, 1.0]))
posts = st.builds(Cylinder, *[st.floats(-3, 3)] * 2, st.floats(0.02, 0.8),
                  st.sampled_from([0.0, 0.2, 0.6]), st.sampled_from([0.03, 0.25, 1.0]))
movers = st.builds(Mover.patrol, st.lists(st.tuples(*[st.integers(-3, 3)] * 2), min_size=2,
                                          max_size=5, unique=True),
                   st.floats(0.1, 2.0), st.floats(0.1, 0.4), st.floats(0, 3),
                   st.sampled_from([0.03, 0.25, 1.0]))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(boxes, max_size=4), st.lists(posts, max_size=4), st.lists(movers, max_size=3),
       st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(-3.1, 3.1)),
       st.tuples(st.floats(-0.5, 1.2), st.floats(-2, 2)), st.sampled_from([ROBOT, ROUND]))
@example([], [], [Mover.patrol(((0, 0), (0, 1)), 1.0, 0.25, 0.25)], (0.0, 0.0, 0.0), (0.0, 0.0),
         ROBOT)  # the lidar stands right on a surface
def test_both_backends_agree_anywhere(boxes, posts, movers, start, command, robot):
    """Overlapping, around the robot, over and under it: whatever may stand there."""
    bank = pack([make_world(boxes=tuple(boxes), cylinders=tuple(posts), movers=tuple(movers))])
    kernels, tensors = (backend(bank, 1, robot, none()) for backend in (BatchedWorld, TorchWorld))
    for world in (kernels, tensors):
        world.reset([0], [Leg(0, start, (5.0, 0.0))], [0])
    assert_same_state(kernels, tensors)
    assert_same_scan(kernels, tensors)
    for _ in range(4):
        kernels.step(np.array([command]))
        tensors.step(torch.tensor([command]))
        if min(abs(kernels.clearance[0]), abs(tensors.clearance[0])) < 1e-6:  # by a hair
            return
    assert_same_state(kernels, tensors)
    assert_same_scan(kernels, tensors)


@pytest.mark.parametrize('seed', range(5))
def test_polygons_are_as_far_apart_as_the_kernel_says(seed):
    """200 boxes about a robot at the origin, one each."""
    rng = np.random.default_rng(seed)
    x, y, half_x, half_y, yaw = rng.uniform((-2, -2, 0.02, 0.02, -3), (2, 2, 1, 1, 3), (200, 5)).T
    box = np.stack((x, y, half_x, half_y, np.cos(yaw), np.sin(yaw)), 1).astype(np.float32)
    near = Primitives(torch.full((200, 1, 3), 1e4), torch.from_numpy(box)[:, None],
                      torch.ones(200, 1, dtype=torch.bool), torch.zeros(200, 1))
    footprint, pose = torch.from_numpy(ROUND.polygon).float(), torch.zeros(200, 3).double()
    found = clearance(footprint, pose, near, torch.zeros(200, 1, 2), 9.0).numpy()
    corner = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)])
    expected = [polygon_to_polygon(ROUND.polygon, corner * (hx, hy) @ [[c, s], [-s, c]] + (x, y))
                for x, y, hx, hy, c, s in box.astype(float)]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert 20 < np.count_nonzero(found == 0.0) < 180  # of either kind


def test_movers_are_where_the_world_says():
    mover = Mover(((0.0, 0.0, 0.0), (1.3, 2.0, 0.0), (1.5, 3.0, 1.0), (4.0, -1.0, 2.0)), 0.2, 0.4)
    stands, patrol = Mover(((0.0, 1.0, 2.0),), 0.2), Mover.patrol(((0, 0), (2, 0)), 0.5, 0.2, 0.7)
    place = Movers(pack([make_world(), make_world(movers=(mover, stands, patrol))]),
                   torch.device('cpu'))
    times = np.linspace(0.0, 40.0, 173)
    found = place.place(torch.ones(173, dtype=torch.int64), torch.from_numpy(times))
    for k, one in enumerate((mover, stands, patrol)):
        expected = [one.position(t) for t in times]
        np.testing.assert_allclose(found[:, k].numpy(), expected, atol=1e-5)


def test_contact_stops_the_robot_and_stays():
    # front edge at 0.229, wall face at 1.0: contact when x = 0.771
    sim = TorchWorld(pack([make_world(boxes=(Box(1.5, 0.0, 0.5, 3.0),))]), 1, ROBOT, none())
    sim.reset([0], [Leg(0, (0.0, 0.0, 0.0), (5.0, 0.0))], [0])
    for _ in range(40):
        sim.step(torch.tensor([(1.0, 0.0)]))
    assert sim.contact[0] and sim.contact_speed[0] == pytest.approx(1.0)
    assert sim.true_pose[0, 0] == pytest.approx(0.771, abs=0.0101)
    pose = sim.true_pose.clone()
    for _ in range(5):
        sim.step(torch.tensor([(-0.3, 0.5)]))
    torch.testing.assert_close(sim.true_pose, pose, rtol=0.0, atol=1e-12)
    sim.reset([0], [Leg(0, (0.0, 0.0, 0.0), (5.0, 0.0))], [0])
    assert not sim.contact[0]
    assert sim.clearance[0] == pytest.approx(1.0 - 0.229)


def test_beam_straight_at_a_circle_and_a_wall():
    # beam 180 has bearing +0.5 degrees; circle radius 0.5 at 3 m: 3 cos a - sqrt(.25 - 9 sin^2 a)
    a = math.radians(0.5)
    sim = TorchWorld(pack([make_world(cylinders=(Cylinder(3.0, 0.0, 0.5),),
                                      boxes=(Box(0.0, 2.1, 5.0, 0.1),))]), 1, ROBOT, none())
    sim.reset([0], [Leg(0, (0.0, 0.0, 0.0), (5.0, 0.0))], [0])
    expected = 3 * math.cos(a) - math.sqrt(0.25 - 9 * math.sin(a) ** 2)
    assert sim.scan[0, 180] == pytest.approx(expected, abs=1e-5)
    assert sim.scan[0, 270] == pytest.approx(2.0 / math.cos(a), abs=1e-5)  # 90.5 degrees
    assert sim.scan[0, 90] == math.inf  # to the right
    assert sim.scan[0, 0].isnan()  # behind, out of the lidar's 270 degrees


def test_noise_has_the_stated_spread_and_share():
    variation = dataclasses.replace(none(), scan_noise=(0.05, 0.05), scan_drop=(0.1, 0.1))
    sim = TorchWorld(pack([make_world(boxes=(Box(2.5, 0.0, 0.5, 30.0),))]), 4, ROBOT, variation)
    sim.reset(np.arange(4), [Leg(0, (0.0, 0.0, 0.0), (5.0, 0.0))] * 4, [3, 4, 5, 6])
    seen = np.abs(scan_bearings()) < math.radians(60)
    errors = []
    for _ in range(50):
        sim.step(torch.zeros(4, 2))
        errors.append((sim.scan.numpy() - 2.0 / np.cos(scan_bearings()))[:, seen])
    flat = np.array(errors)  # 50 steps x 4 robots x 120 beams
    assert np.isnan(flat).mean() == pytest.approx(0.1, abs=0.01)
    assert np.nanstd(flat) == pytest.approx(0.05, rel=0.05)
    assert abs(np.nanmean(flat)) < 0.003
    # neither from beam to beam nor from robot to robot nor from step to step alike
    flat = np.nan_to_num(flat) / 0.05
    for a, b in ((flat[1:], flat[:-1]), (flat[:, 1:], flat[:, :-1]),
                 (flat[..., 1:], flat[..., :-1])):
        assert abs((a * b).mean()) < 0.03  # 0.9 where they were


@pytest.mark.parametrize('device', DEVICES)
def test_same_seed_same_episode_on_device_whatever_slot_and_pairs(device):
    bank = bank_of('mixed', 2)
    leg = Leg(1, tuple(bank.starts[1]), tuple(bank.goals[1, 0]))
    wide = TorchWorld(bank, 3, ROBOT, device=device)
    narrow = TorchWorld(bank, 1, ROBOT, device=device, pairs=1)
    wide.reset(np.arange(3), [Leg(0, leg.start, leg.goal)] * 3, [1, 2, 3])
    wide.reset([2], [leg], [5])
    narrow.reset([0], [leg], [5])
    for _ in range(10):
        wide.step(torch.tensor([(0.7, 0.4)] * 3, device=device))
        narrow.step(torch.tensor([(0.7, 0.4)], device=device))
    torch.testing.assert_close(wide.scan[2], narrow.scan[0], rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(wide.odom_pose[2], narrow.odom_pose[0], rtol=0, atol=0)


def to_meta(thing):
    """An object with every tensor in it replaced by one that has a shape and no values."""
    for name, value in vars(thing).items():
        if isinstance(value, torch.Tensor):
            object.__setattr__(thing, name, value.to('meta'))
        elif isinstance(value, (Primitives, Movers)):
            to_meta(value)


def test_a_step_reads_no_value_back():
    """On tensors without values .item(), .cpu() and selection by a mask raise."""
    sim = both(bank_of('moving', 2), 3, None)[1]
    to_meta(sim)
    with pytest.raises((RuntimeError, NotImplementedError)):
        sim.contact.any().item()
    sim.step(torch.zeros(3, 2, device='meta'))
    assert sim.scan.shape == (3, SCAN_BEAMS) and sim.clearance.shape == (3,)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('g++') is None, reason='no g++: torch.compile not run')
@pytest.mark.parametrize('device', DEVICES)
def test_a_compiled_step_is_the_step_on_device(device):
    bank = bank_of('mixed', 3)
    kernels = both(bank, 6, none())[0]
    tensors = TorchWorld(bank, 6, ROBOT, none(), device, compiled=True)
    tensors.reset(np.arange(6), [Leg(int(w), tuple(p), tuple(g)) for w, p, g in zip(
        kernels.world, kernels.true_pose, kernels.goal, strict=True)], np.arange(6))
    for _ in range(20):
        kernels.step(np.tile((0.6, 0.4), (6, 1)))
        tensors.step(torch.tensor([(0.6, 0.4)] * 6, dtype=torch.float64, device=device))
    assert_same_state(kernels, tensors)
    assert_same_scan(kernels, tensors)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device: no graph captured')
def test_a_captured_step_is_the_step_and_never_waits():
    bank = bank_of('moving')
    plain, graph = (both(bank, 32, Variation(), 'cuda')[1] for _ in range(2))
    pose = graph.true_pose.clone()
    graph.capture()
    torch.testing.assert_close(graph.true_pose, pose, rtol=0, atol=0)
    command = torch.rand(32, 2, device='cuda', dtype=torch.float64)
    torch.cuda.set_sync_debug_mode('error')
    try:
        for _ in range(40):
            plain.step(command)
            graph.step(command)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    for name in (*STATE, 'contact', 'scan'):
        torch.testing.assert_close(getattr(graph, name), getattr(plain, name), rtol=0, atol=0,
                                   equal_nan=True)
    leg = Leg(0, tuple(bank.starts[0]), tuple(bank.goals[0, 0]))
    graph.reset([3], [leg], [9])  # between replays
    graph.step(command)
    assert graph.time[3].item() == pytest.approx(0.05)


@pytest.mark.parametrize('device', DEVICES)
def test_ends_and_rewards_are_those_of_the_loop_on_device(device):
    """Straight at the goal without a gate: one arrives, one hits a post, one's time is up."""
    world = make_world(cylinders=(Cylinder(0.0, 1.5, 0.2),))
    legs = [Leg(0, (4.0, 0.0, 0.0), (5.0, 0.0)), Leg(0, (0.0, 0.0, math.pi / 2), (0.0, 5.0)),
            Leg(0, (-9.0, 0.0, 0.0), (9.0, 0.0))]
    policy = PolicyConfig()
    numba = ClosedLoop(pack([world]), 3, ControlConfig(), policy, none(), 2.0, gate=False)
    tensors = OpenLoop(pack([world]), 3, policy, none(), 2.0, device)
    numba.begin(np.arange(3), legs, np.arange(3))
    tensors.begin(np.arange(3), legs, np.arange(3))
    weights = {name: 1.0 for name in TERMS if name != 'progress'}
    causes = []
    for tick in range(40):
        command = np.array([(0.8, 0.1), (0.8, 0.0), (0.5 + 0.01 * tick, -0.2)])
        numba.features()
        a, b = numba.advance(command), tensors.advance(torch.from_numpy(command).to(device))
        for name in ('arrived', 'contact', 'late', 'done'):
            np.testing.assert_array_equal(getattr(b, name).cpu().numpy(), getattr(a, name), name)
        total, parts = weighted_sum(b.transition, weights)
        expected, others = weighted_sum(a.transition, weights)
        np.testing.assert_allclose(total.cpu().numpy(), expected, atol=1e-5)
        assert parts.keys() == others.keys()
        causes.append((a.arrived, a.contact, a.late))
    # by the end, since nobody begins again, the first has driven on past its goal and is late, too
    assert np.any(causes, axis=0).tolist() == [[True, False, False], [False, True, False],
                                               [True, False, True]]


def test_progress_is_the_way_won_straight_to_the_goal():
    loop = OpenLoop(pack([make_world()]), 2, PolicyConfig(), none())
    loop.begin([0, 1], [Leg(0, (0.0, 0.0, 0.0), (5.0, 0.0)),
                        Leg(0, (0.0, 0.0, 0.0), (3.0, 4.0))], [0, 1])
    won = sum(loop.advance(torch.tensor([(0.5, 0.0)] * 2)).transition.progress for _ in range(20))
    x = loop.world.odom_pose[0, 0].item()
    assert won[0] == pytest.approx(x)
    assert won[1] == pytest.approx(5.0 - math.hypot(3.0 - x, 4.0))


def test_errors_name_the_value():
    bank = pack([make_world()])
    with pytest.raises(ValueError, match='batch is 0'):
        TorchWorld(bank, 0, ROBOT)
    with pytest.raises(ValueError, match='pairs is 0'):
        TorchWorld(bank, 1, ROBOT, pairs=0)
    with pytest.raises(ConfigError, match="device 'tpu' is not accepted"):
        TorchWorld(bank, 1, ROBOT, device='tpu')
    with pytest.raises(ConfigError, match="device 'cuda:99' is not available"):
        TorchWorld(bank, 1, ROBOT, device='cuda:99')
    with pytest.raises(ValueError, match=r"world 'people' seed 300 has people"):
        TorchWorld(bank_of('people', 1), 1, ROBOT)
    sim = TorchWorld(bank, 1, ROBOT)
    with pytest.raises(ValueError, match=r'shape \(2,\)'):
        sim.step(torch.zeros(2))
    with pytest.raises(ValueError, match='command is on meta; it takes cpu'):
        sim.step(torch.zeros(1, 2, device='meta'))
    with pytest.raises(ValueError, match='1 slots, 0 legs and 1 seeds'):
        sim.reset([0], [], [0])
    with pytest.raises(ValueError, match="device 'cpu' has no CUDA graphs"):
        sim.capture()
