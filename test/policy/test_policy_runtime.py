"""The runtime: deterministic deliberation, resets, goals, plans, devices."""

import math
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from planar import scan_of

from karpathy_control.contracts.config import ConfigError, PolicyConfig, from_mapping
from karpathy_control.contracts.layout import ENTITY_CLASSES, ENTITY_FIELDS, SECTORS
from karpathy_control.contracts.types import Entities, Observation, Scan, State
from karpathy_control.policy.actor import RESIDUAL_SPEED, Actor, save_actor
from karpathy_control.policy.runtime import PolicyRuntime, moving_entities, plan_target

PERIOD = 50_000_000  # ns
CIRCLES = np.array([[2.0, 0.1, 0.3], [3.5, -0.8, 0.3]])


def observation(k, pose=(0.0, 0.0, 0.0), velocity=(0.0, 0.0), goal=(6.0, 0.0), plan=None,
                circles=CIRCLES):
    """`goal` in odom here."""
    state = State(k * PERIOD, *pose, *velocity)
    scan = Scan(state.stamp, scan_of(circles, np.array(pose)), 10.0)
    local = None
    if goal is not None:
        dx, dy = goal[0] - pose[0], goal[1] - pose[1]
        c, s = math.cos(pose[2]), math.sin(pose[2])
        local = (c * dx + s * dy, -s * dx + c * dy)
    return Observation(state.stamp, state, scan=scan, goal=local, plan=plan)


def drive(runtime, count, start=0):
    pose, actions = np.zeros(3), []
    for k in range(start, start + count):
        last = actions[-1].command if actions else None
        v, w = (last.v, last.w) if last else (0.0, 0.0)
        actions.append(runtime.step(observation(k, tuple(pose), (v, w))))
        v, w = actions[-1].command.v, actions[-1].command.w
        pose += 0.05 * np.array([v * math.cos(pose[2]), v * math.sin(pose[2]), w])
    return pose, actions


@pytest.fixture
def runtime():
    made = PolicyRuntime(None, PolicyConfig(), wait=True)
    yield made
    made.close()


def test_drives_and_a_replay_gives_the_same_actions(runtime):
    pose, actions = drive(runtime, 60)
    assert pose[0] > 1.5
    commands = [a.command for a in actions]
    assert all(a.stamp == k * PERIOD for k, a in enumerate(actions))
    runtime.reset()
    assert [a.command for a in drive(runtime, 60)[1]] == commands
    assert runtime.late == 0


def test_result_is_used_a_fixed_number_of_observations_later(runtime):
    assert runtime.config.replan_delay == 2
    moving = [a.command.v != 0.0 for a in drive(runtime, 5)[1]]
    assert moving == [False, False, True, True, True]


def test_without_delay_the_first_action_already_moves():
    made = PolicyRuntime(None, from_mapping(PolicyConfig, {'replan_delay': 0}))
    assert made.step(observation(0)).command.v > 0.0
    made.close()


def test_delay_longer_than_the_period_still_delivers():
    config = from_mapping(PolicyConfig, {'replan_every': 2, 'replan_delay': 5})
    made = PolicyRuntime(None, config, wait=True)
    moving = [a.command.v != 0.0 for a in drive(made, 8)[1]]
    assert moving == [False] * 5 + [True] * 3
    made.close()


def test_late_deliberation_keeps_the_previous_result_and_is_counted():
    made = PolicyRuntime(None, PolicyConfig())
    made.warm_up()
    release = threading.Event()
    replan = made._planner.replan

    def slow(goal):
        release.wait(10.0)
        replan(goal)

    made._planner.replan = slow
    for k in range(6):
        assert made.step(observation(k)).command.v == 0.0
    assert made.late == 1
    release.set()
    made._pending.result()
    assert made.step(observation(6)).command.v > 0.0
    made.close()


def test_no_goal_is_zero_but_the_memory_goes_on(runtime):
    action = runtime.step(observation(0, goal=None))
    assert (action.command.v, action.command.w) == (0.0, 0.0)
    grid, x, y, cell = runtime.costmap()
    assert grid.dtype == np.int8
    assert grid.min() == -1
    rows, columns = np.nonzero(grid == 100)
    where = np.column_stack((x + (columns + 0.5) * cell, y + (rows + 0.5) * cell))
    assert np.hypot(*(where - (1.7, 0.1)).T).min() < 0.1


def test_goal_reached_is_zero(runtime):
    for k in range(5):
        action = runtime.step(observation(k, goal=(0.2, 0.1)))
        assert (action.command.v, action.command.w) == (0.0, 0.0)


def test_a_new_goal_waits_for_its_own_plan(runtime):
    for k in range(6):
        action = runtime.step(observation(k))
    assert action.command.v > 0.0
    commands = [runtime.step(observation(k, goal=(-5.0, 0.0))).command for k in range(6, 10)]
    assert commands[0].v == commands[1].v == 0.0
    assert abs(commands[2].w) > 0.3  # towards what is behind


@pytest.mark.parametrize('second', [
    observation(3, pose=(0.0, 0.0, 0.0)),  # stamp goes back
    observation(7, pose=(2.5, 0.0, 0.0)),  # 2.5 m in 0.1 s
])
def test_discontinuities_forget_everything(runtime, second):
    for k in range(6):
        action = runtime.step(observation(k))
    assert action.command.v > 0.0
    assert runtime.step(second).command.v == 0.0


def test_fast_but_steady_motion_is_no_jump(runtime):
    for k in range(6):
        action = runtime.step(observation(k, pose=(0.06 * k, 0.0, 0.0), velocity=(1.2, 0.0)))
    assert action.command.v > 0.0


def test_a_state_that_is_not_finite_is_zero(runtime):
    for k in range(4):
        runtime.step(observation(k))
    bad = observation(4)
    bad = Observation(bad.stamp, State(bad.stamp, math.nan, 0.0, 0.0, 0.0, 0.0), scan=bad.scan,
                      goal=bad.goal)
    assert runtime.step(bad).command.v == 0.0
    assert runtime.step(observation(5)).command.v > 0.0


def test_plan_lookahead():
    plan = np.array([[0, 0], [2, 0], [2, 4]], np.float32)
    assert plan_target(plan, 0.1, 0.2) == pytest.approx((2.0, 1.0))  # 3 m from (0, 0)
    assert plan_target(plan, 2.0, 3.5) == pytest.approx((2.0, 4.0))
    assert plan_target(plan[:1], 5.0, 5.0) == pytest.approx((0.0, 0.0))


def test_a_plan_leads_the_other_way_round(runtime):
    nothing = np.zeros((0, 3))
    plan = np.array([[0, 0], [0, 3], [4, 3], [6, 0]], np.float32)
    for k in range(6):
        action = runtime.step(observation(k, plan=plan, circles=nothing))
    assert action.command.w > 0.5
    for k in range(6, 12):
        action = runtime.step(observation(k, goal=None, plan=plan, circles=nothing))
    assert action.command.w > 0.5


def test_path_runs_from_robot_to_goal(runtime):
    for k in range(5):
        action = runtime.step(observation(k, goal=(4.0, 1.0)))
    assert np.hypot(*action.path[0]) < 0.1
    assert np.hypot(*(action.path[-1] - (4.0, 1.0))) < 0.1


def entities_with(rows):
    table = np.zeros((SECTORS, len(ENTITY_FIELDS)), np.float32)
    for i, row in enumerate(rows):
        for name, value in row.items():
            table[i, ENTITY_FIELDS.index(name)] = value
    return Entities(0, table, np.zeros((0, 0), np.float32))


def test_moving_entities_nearest_first():
    moving, static = (float(ENTITY_CLASSES.index(n)) for n in ('moving', 'static'))
    rows = moving_entities(entities_with([
        {'x': 3.0, 'vx': 0.5, 'radius': 0.3, 'confidence': 0.9, 'label': moving,
         'turn_rate': -0.4, 'spread': 0.6, 'gain': 0.2},
        {'x': 1.0, 'y': 1.0, 'vy': 0.2, 'radius': 0.2, 'confidence': 0.7, 'label': moving},
        {'x': 0.5, 'vx': 0.5, 'confidence': 0.9, 'label': static},
        {'x': 0.7, 'vx': 0.1, 'confidence': 0.9, 'label': moving},  # said to move, but stands
        {'x': math.nan, 'confidence': 0.9, 'label': moving}]))
    assert rows[0] == pytest.approx([1.0, 1.0, 0.0, 0.2, 0.2, 0.7, 0.0, 0.0, 0.0])
    assert rows[1] == pytest.approx([3.0, 0.0, 0.5, 0.0, 0.3, 0.9, -0.4, 0.6, 0.2])
    assert np.all(rows[2:] == 0.0)


def test_camera_scan_reaches_the_memory(runtime):
    ranges = np.full(360, np.nan, np.float32)
    ranges[180] = 1.5
    entities = Entities(0, np.zeros((0, len(ENTITY_FIELDS)), np.float32),
                        np.zeros((0, 0), np.float32), Scan(0, ranges, 10.0))
    runtime.step(observation(0, goal=None, circles=np.zeros((0, 3))), entities)
    assert np.sum(runtime.costmap()[0] == 100) == 1


def test_reflex_is_a_bounded_correction_and_can_be_switched_off(tmp_path):
    actor = Actor()
    with torch.no_grad():
        actor.head[-1].bias.copy_(torch.tensor([-50.0, 0.0]))
    path = tmp_path / 'actor.safetensors'
    save_actor(actor, path, 'a test', 0, 'none', {})
    sure = Entities(0, np.zeros((SECTORS, len(ENTITY_FIELDS)), np.float32),
                    np.zeros((0, 0), np.float32))
    speeds = {}
    for name, reflex, entities in (('reflex', True, sure), ('map', False, sure),
                                   ('unsure', True, replace(sure, unsure=True)),
                                   ('silent', True, None)):
        config = from_mapping(PolicyConfig, {'reflex': reflex})
        made = PolicyRuntime(path, config, wait=True)
        made.warm_up()
        for k in range(4):
            action = made.step(observation(k), entities)
        speeds[name] = action.command.v
        made.close()
    assert speeds['reflex'] == pytest.approx(speeds['map'] - RESIDUAL_SPEED, abs=1e-5)
    assert speeds['unsure'] == speeds['silent'] == speeds['map']


def test_a_live_change_is_taken_over(runtime):
    drive(runtime, 6)
    runtime.configure(from_mapping(PolicyConfig, {'robot.max_speed': 0.5}))
    action = runtime.step(observation(6, pose=(0.2, 0.0, 0.0), velocity=(0.5, 0.0)))
    assert 0.0 < action.command.v <= 0.5
    with pytest.raises(ValueError, match=r'memory\.width'):
        runtime.configure(from_mapping(PolicyConfig, {'memory.width': 64}))


def test_deliberation_starts_as_often_as_a_live_change_says(runtime):
    starts, replan = [], runtime._planner.replan
    runtime._planner.replan = lambda goal: (starts.append(len(starts)), replan(goal))
    drive(runtime, 12)
    assert len(starts) == 3  # at 0, 4, 8
    runtime.configure(from_mapping(PolicyConfig, {'replan_every': 2}))
    drive(runtime, 12, start=12)
    runtime.close()  # the last one may not have begun yet
    assert len(starts) == 3 + 6  # at 12, 14 ... 22


@pytest.mark.parametrize('device', ['cuda:63', 'abacus'])
def test_a_device_that_is_not_there_is_an_error(device):
    with pytest.raises(ConfigError, match=device):
        PolicyRuntime(None, from_mapping(PolicyConfig, {'device': device}))


def observed(runtime, count, slow=()):
    """Drive and keep the observations, the actions and which went without a due plan.

    The plans that start at the observations of `slow` are ready three observations late.
    """
    replan, gate = runtime._planner.replan, threading.Event()

    def held(goal):
        gate.wait(10.0)
        replan(goal)

    runtime._planner.replan = held
    pose, seen, actions, late = np.zeros(3), [], [], []
    v = w = 0.0
    for k in range(count):
        for start in slow:  # a plan is due 2 observations after its start
            if k == start:
                gate.clear()
            if k == start + 5 and runtime._pending is not None:
                gate.set()
                runtime._pending.result()
        if not any(start <= k < start + 5 for start in slow):
            gate.set()
            if runtime._pending is not None:
                runtime._pending.result()
        seen.append(observation(k, tuple(pose), (v, w)))
        actions.append(runtime.step(seen[-1]).command)
        late.append(runtime.was_late)
        v, w = actions[-1].v, actions[-1].w
        pose += 0.05 * np.array([v * math.cos(pose[2]), v * math.sin(pose[2]), w])
    gate.set()
    runtime._planner.replan = replan
    return seen, actions, late


def test_a_replay_of_late_plans_is_the_same_and_one_in_time_is_not():
    """The first plan starts at 0, is due at 2 and used at 5: until then the robot stands."""
    live, again, punctual = (PolicyRuntime(None, PolicyConfig()) for _ in range(3))
    seen, actions, late = observed(live, 40, slow=(0,))
    assert [k for k, flag in enumerate(late) if flag] == [2, 3, 4] and live.late == 1
    assert [again.step(o, late=flag).command for o, flag in zip(seen, late, strict=True)
            ] == actions
    assert again.late == 1
    assert [punctual.step(o, late=False).command for o in seen] != actions
    for made in (live, again, punctual):
        made.close()


@pytest.mark.parametrize('at', [1, 3, 18, 19, 32])
def test_another_runtime_goes_on_from_a_state(at):
    """Plans start at 0, 4, 8 ... and are used 2 later: behind 0 and 17 one is under way."""
    live, other = (PolicyRuntime(None, PolicyConfig()) for _ in range(2))
    seen, actions, _ = observed(live, 50)
    live.reset()
    for o in seen[:at]:
        live.step(o, late=False)
    assert (live._pending is not None) == (at in (1, 18))
    observed(other, 7)  # what it was about before is forgotten
    other.restore(live.state())
    assert [other.step(o, late=False).command for o in seen[at:]] == actions[at:]
    for made in (live, other):
        made.close()


def test_a_state_of_another_map_is_refused():
    live = PolicyRuntime(None, PolicyConfig())
    other = PolicyRuntime(None, from_mapping(PolicyConfig, {'memory.width': 64}))
    with pytest.raises(ValueError, match=r'layers.lidar has shape \(1, 192, 192\)'):
        other.restore(live.state())
    with pytest.raises(KeyError):
        other.restore({})
    for made in (live, other):
        made.close()
