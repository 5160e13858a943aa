"""The controller tick by tick: decisions, who commands, stopping, life."""

import math

import numpy as np
import pytest
from ticking import INF, MS, START, Loop, S, config, memory, ready

from karpathy_control.contracts.config import replace_value
from karpathy_control.contracts.modes import Mode, Override, Reason
from karpathy_control.contracts.types import Action, Command, DepthPoints, State
from karpathy_control.control import controller
from karpathy_control.control.controller import Decision
from karpathy_control.control.gate import Gate
from karpathy_control.control.memory import EMPTY
from karpathy_control.control.supervisor import STOP_TIME


@pytest.fixture
def loop():
    return ready()


# -- one decision ---------------------------------------------------------------------------------


def test_a_decision_says_it_all(loop):
    decision = loop.tick()
    # from rest: 20 m/s^3 for 50 ms give 1 m/s^2, and so 0.05 m/s
    assert decision.command == Command(pytest.approx(0.05), 0.0)
    assert (decision.mode, decision.reasons) == (Mode.AUTONOMOUS, ())
    assert decision.override is Override.POLICY and decision.stamp == START
    assert decision.limited is False and decision.goal == (9.0, 0.0)
    assert decision.proposal == Command(0.3, 0.0)
    # 0.02 s at 2.5 m/s^2: the beginning and the end of the first step
    assert decision.braking.shape == (2, 3)
    assert decision.braking[:, 0] == pytest.approx([0.0, 0.02 * 0.05 * 0.5])
    assert decision.values == {
        'age_scan_ms': '0', 'age_depth_ms': '0', 'age_camera_scan_ms': 'inf', 'age_odom_ms': '0',
        'age_imu_ms': 'inf', 'age_observation_ms': 'inf', 'age_entities_ms': '0',
        'age_action_ms': '0', 'age_teleop_ms': 'inf', 'override': 'policy', 'clearance': 'inf',
        'interventions': '0', 'goal_distance': '9.000'}


def test_the_next_tick_goes_on_from_the_last_command(loop):
    loop.tick()
    decision = loop.tick(20)
    assert decision.command.v == pytest.approx(0.05 + 0.02 * (1.0 + 0.4))
    assert decision.values['age_scan_ms'] == '20'
    loop.odom(1.0, 2.0, 0.5, 0.1, 0.2)
    decision = loop.tick(20)
    assert decision.braking[0] == pytest.approx([1.0, 2.0, 0.5])
    assert decision.values['goal_distance'] == f'{math.hypot(8.0, 2.0):.3f}'


def test_the_braking_is_shown_by_eight_poses_at_most(loop):
    loop.tick()
    loop.controller._command = Command(0.3, 0.0)
    loop.controller._gate.record([[0.3, 0.0]], loop.now / S)
    loop.time += 20
    loop.odom(v=0.3)
    decision = loop.tick()
    # 0.3 m/s: 0.12 s in steps of 20 ms are 7 poses; 1.0 m/s: 0.4 s, 21 poses
    assert decision.braking.shape == (7, 3)
    loop.controller._gate.record([[1.0, 0.0]], loop.now / S)
    loop.time += 20
    loop.odom(v=1.0)
    loop.action(1.0)
    decision = loop.tick()
    assert decision.braking.shape == (8, 3)
    whole = loop.controller._gate.braking((0.0, 0.0, 0.0), (decision.command.v, 0.0))
    assert len(whole) > 15
    picked = [k * (len(whole) - 1) // 7 for k in range(8)]
    assert decision.braking == pytest.approx(whole[picked])


def test_without_odometry_there_is_no_way_to_show():
    decision = Loop().tick()
    assert decision.braking.shape == (0, 3) and decision.command == Command()
    assert (decision.mode, decision.reasons) == (Mode.STOPPED, (Reason.WAITING_FOR_INPUT,))
    assert decision.goal is None and decision.stamp == 0 and decision.proposal == Command()
    assert decision.values['clearance'] == 'nan' and decision.override is Override.NOBODY
    assert 'goal_distance' not in decision.values and 'refused' not in decision.values
    assert 'age_clock_ms' not in decision.values
    assert Decision.__dataclass_fields__['proposal'].default_factory() == Command()


def test_without_a_goal_it_stands_and_says_why():
    loop = Loop()
    loop.everything()
    decision = loop.tick()
    assert (decision.mode, decision.reasons) == (Mode.IDLE, (Reason.NO_GOAL,))
    assert decision.proposal == Command() and decision.stamp == 0
    loop.controller.refuse_goal('frame map is unknown')
    decision = loop.tick(5)
    assert decision.reasons == (Reason.GOAL_REFUSED,)
    assert decision.values['refused'] == 'frame map is unknown'
    assert loop.controller.cancel_goal() == (False, 'there is no goal to cancel')
    loop.controller.adopt_goal(1.0, 0.0)  # too late: one was refused here
    assert loop.tick(5).goal is None
    loop.controller.on_goal(2.0, 1.0)
    assert loop.tick(5).goal == (2.0, 1.0)
    assert loop.controller.cancel_goal() == (True, 'goal 2.00 1.00 cancelled')
    assert loop.tick(5).reasons == (Reason.GOAL_CANCELLED,)
    fresh = Loop()
    fresh.everything()
    fresh.controller.adopt_goal(2.0, 1.0)
    assert fresh.tick().goal == (2.0, 1.0)


def test_a_goal_is_reached_where_odometry_says_so(loop):
    loop.tick()
    loop.time += 20
    loop.controller.on_odom(State(loop.now, 0.0, 0.0, 0.0, 0.0, 0.0), loop.steady)
    loop.controller.on_goal(0.2, 0.2)
    decision = loop.tick()
    assert decision.goal is None and decision.reasons == (Reason.GOAL_REACHED,)
    assert decision.mode is Mode.IDLE


def test_a_goal_is_blocked_by_the_time_that_the_policy_drives(loop):
    for seconds in (0, 6, 12):
        decision = loop.tick()
        assert (Reason.GOAL_BLOCKED in decision.reasons) == (seconds > 10)
        loop.time += 6000
        loop.everything(0.0)
    assert Reason.GOAL_BLOCKED in loop.tick().reasons
    # while odometry is old nothing is judged
    other = Loop()
    other.everything(0.0)
    other.controller.on_goal(9.0, 0.0)
    other.tick()
    other.tick(12_000)
    other.time += 20
    other.everything(0.0)
    assert Reason.GOAL_BLOCKED in other.tick().reasons


# -- who commands ---------------------------------------------------------------------------------


def test_a_person_commands_for_as_long_as_the_dead_man_holds(loop):
    loop.tick()
    loop.time += 20
    loop.everything()
    loop.controller.on_teleop(Command(0.2, 0.1), None, loop.steady)
    decision = loop.tick()
    assert (decision.mode, decision.override) == (Mode.TELEOP, Override.TELEOP)
    assert decision.proposal == Command(0.2, 0.1) and decision.stamp == 0
    assert decision.command.w == pytest.approx(0.1)


def test_a_stamped_command_of_a_person_ages_by_the_steady_clock_too():
    """Simulated time stands still: stamps do not age, a person's hand does."""
    loop = Loop(config(max_age__clock=2.0), sim_time=True)
    loop.everything()
    loop.controller.on_clock(loop.now, loop.steady)
    loop.controller.on_teleop(Command(0.2, 0.1), loop.now, loop.steady)

    def tick(later):
        return loop.controller.tick(loop.now, loop.steady + later * MS, True)

    assert tick(0).mode is Mode.TELEOP
    assert tick(250).mode is Mode.TELEOP
    assert tick(251).mode is Mode.IDLE


def test_simulated_time_that_stands_still_is_a_fault():
    loop = Loop(sim_time=True)
    loop.everything()
    decision = loop.tick()
    assert decision.reasons == (Reason.CLOCK_STALLED,)  # it has never come
    assert decision.values['age_clock_ms'] == 'inf'
    loop.controller.on_clock(loop.now, loop.steady)
    bound = round(1000 * loop.controller.config.max_age.clock)

    def tick(later):
        return loop.controller.tick(loop.now, loop.steady + later * MS, True)

    assert tick(bound).mode is Mode.IDLE
    assert tick(bound).values['age_clock_ms'] == str(bound)
    assert tick(bound + 1).reasons == (Reason.CLOCK_STALLED,)


def test_a_speed_limit_and_reverse_go_on_to_the_gate():
    """Without the lidar: 0.4 m/s at most, and not backwards."""
    loop = Loop()
    loop.odom()
    loop.depth(*[(1.5, 0.1 * k) for k in range(-5, 6)], kind=DepthPoints.FREE)
    loop.entities()
    loop.action(1.0)
    loop.controller.on_goal(9.0, 0.0)
    loop.controller._gate._memory.free_seen[:] = 1e6
    loop.controller._gate.record([[0.39, 0.0]], loop.now / S - 0.05)
    decision = loop.tick()
    assert decision.mode is Mode.CAMERA_ONLY and Reason.LIDAR_LOST in decision.reasons
    assert decision.command.v == pytest.approx(0.4)
    loop.time += 20
    loop.odom()
    loop.action(-0.3)
    loop.controller._gate.record([[0.0, 0.0]], loop.now / S - 0.05)
    assert loop.tick().command == Command(0.0, 0.0)
    loop.scan()
    loop.time += 20
    loop.odom()
    loop.scan()
    loop.action(-0.3)
    loop.controller._gate.record([[-0.1, 0.0]], loop.now / S - 0.05)
    loop.controller._gate._memory.free_seen[:] = 1e6
    decision = loop.tick()
    assert decision.mode is Mode.AUTONOMOUS and decision.command.v < -0.1


# -- the gate's answers ---------------------------------------------------------------------------


def test_interventions_are_counted_where_they_begin():
    loop = Loop()
    wall = np.full(24, INF)
    wall[11:14] = 0.25  # from the lidar: at 15 degrees it is 0.067 m before the bumper
    seen = []
    for v in (0.0, 0.5, 0.5, 0.0, 0.5):
        loop.time += 50
        loop.odom()
        loop.scan(wall)
        loop.entities()
        loop.action(v)
        loop.controller.on_goal(9.0, 0.0)
        loop.controller._gate.record([[0.0 if v == 0.0 else 0.3, 0.0]], loop.now / S - 0.05)
        decision = loop.tick()
        seen.append((decision.limited, decision.values['interventions']))
        assert decision.limited == bool(set(decision.reasons) & {
            Reason.GATE_LIMITED, Reason.GATE_BRAKING, Reason.UNAVOIDABLE})
    assert seen == [(False, '0'), (True, '1'), (True, '1'), (False, '1'), (True, '2')]
    assert decision.values['clearance'] == f'{0.25 * math.cos(math.pi / 12) + 0.055 - 0.229:.3f}'
    assert decision.proposal == Command(0.5, 0.0)
    loop.controller.set_commanders(2)
    decision = loop.tick(20)
    assert not decision.limited and decision.values['clearance'] == 'nan'


def test_an_intervention_in_the_first_tick_counts():
    loop = Loop()
    loop.everything(0.5, speed=0.3)
    wall = np.full(24, INF)
    wall[11:14] = 0.25
    loop.scan(wall, stamp=loop.now + 1)
    loop.controller.on_goal(9.0, 0.0)
    decision = loop.tick()
    assert decision.limited and decision.values['interventions'] == '1'


@pytest.mark.parametrize(('gap', 'speed', 'reason'), [
    # 0.5 m/s takes 0.135 m and 0.0325 m, 0.55 m/s 0.152 m; test_admissible_plain has the others
    (0.17, 0.5, Reason.GATE_LIMITED), (0.05, 0.8, Reason.UNAVOIDABLE),
    (0.04, 0.2, Reason.GATE_BRAKING)])
def test_each_answer_of_the_gate_has_its_reason(gap, speed, reason):
    loop = Loop()
    memory(loop).free_seen[:] = 1e6
    wall = np.full(24, INF)
    wall[12] = 0.229 - 0.055 + gap  # ahead, from the lidar
    loop.odom(v=speed)
    loop.scan(wall)
    loop.entities()
    loop.action(1.0)
    loop.controller.on_goal(9.0, 0.0)
    loop.controller._gate.record([[speed, 0.0]], loop.now / S - 0.05)
    assert loop.tick().reasons[-1] is reason


# -- stopping -------------------------------------------------------------------------------------


def stopping(loop, command=(0.5, 0.2)):
    """The loop under way with a command."""
    loop.tick()
    loop.controller._command = Command(*command)
    return loop


def test_it_brakes_on_the_arc_in_the_time_that_it_needs():
    """A lost log is a fault that leaves all of the time, more than the 0.2 s from 0.5 m/s."""
    loop = ready(config(audit__required=True))
    stopping(loop)
    loop.controller.set_audit_lost(True)
    first = loop.tick(20)
    assert (first.mode, first.reasons) == (Mode.STOPPED, (Reason.AUDIT_LOST,))
    assert first.command == Command(0.5, 0.2)  # it begins now
    assert first.proposal == Command() and first.stamp == 0
    loop.everything()
    # 0.5 m/s take 0.2 s at 2.5 m/s^2: a quarter is left after 0.15 s
    half = loop.tick(100)
    assert (half.command.v, half.command.w) == pytest.approx((0.25, 0.1))
    assert loop.controller._gate._last.command[0] == pytest.approx([0.25, 0.1])
    assert loop.controller._gate._last.time[0] == loop.now / S
    assert loop.tick(50).command.v == pytest.approx(0.125)
    assert loop.tick(50).command == Command()
    assert loop.tick(50).command == Command()


def test_a_turn_may_take_longer_to_stop():
    """1.2 rad/s take 0.2 s at 6 rad/s^2, and 0.1 m/s no more than 0.04 s."""
    loop = stopping(ready(config(audit__required=True)), (0.1, 1.2))
    loop.controller.set_audit_lost(True)
    loop.tick(20)
    half = loop.tick(100)
    assert (half.command.v, half.command.w) == pytest.approx((0.05, 0.6))


def test_it_brakes_faster_where_less_time_is_left(loop):
    """Odometry was heard a while ago: what is left of the time to stop is all there is."""
    bound = round(1000 * loop.controller.config.max_age.odom)
    stopping(loop, (1.0, 0.0))
    first = loop.tick(bound + 10)
    assert Reason.ODOM_LOST in first.reasons and first.command == Command(1.0, 0.0)
    left = round(1000 * STOP_TIME) - (bound + 10)
    assert 0 < left < 400  # of braking from 1 m/s
    third = left // 3
    assert loop.tick(third).command.v == pytest.approx((left - third) / left)
    assert loop.tick(left - third).command == Command()


def test_a_fault_that_leaves_no_time_stops_at_once(loop):
    stopping(loop, (1.0, 0.5))
    assert loop.tick(400).command == Command()
    assert loop.tick(10).command == Command()


def test_a_new_fault_may_shorten_the_stop():
    """From 1 m/s it takes all the time that there is; 0.1 s later odometry is lost."""
    loop = stopping(ready(config(audit__required=True)), (1.0, 0.0))
    loop.controller.set_audit_lost(True)
    bound = round(1000 * loop.controller.config.max_age.odom)
    loop.time = bound - 99
    assert loop.tick().command.v == 1.0
    decision = loop.tick(100)
    assert Reason.ODOM_LOST in decision.reasons
    # from the beginning of the stop to where odometry is as old as it may be
    whole = round(1000 * STOP_TIME) - (bound - 99)
    assert decision.command.v == pytest.approx((whole - 100) / whole)


def test_after_a_stop_the_next_one_begins_anew(loop):
    stopping(loop)
    loop.controller.set_commanders(2)
    loop.tick(20)
    loop.tick(100)
    loop.controller.set_commanders(1)
    loop.everything()
    assert loop.tick(5).mode is Mode.AUTONOMOUS
    loop.controller._command = Command(0.4, 0.0)
    loop.controller.set_commanders(2)
    assert loop.tick(5).command == Command(0.4, 0.0)


def test_the_emergency_stop_goes_through(loop):
    loop.controller.on_emergency_stop(True)
    decision = loop.tick()
    assert (decision.mode, decision.reasons) == (Mode.EMERGENCY_STOP, (Reason.EMERGENCY_STOP,))
    assert decision.override is Override.EMERGENCY_STOP
    assert decision.values['override'] == 'emergency_stop'


@pytest.mark.parametrize(('required', 'mode'), [(True, Mode.STOPPED), (False, Mode.AUTONOMOUS)])
def test_a_lost_log_stops_only_where_it_is_required(required, mode):
    loop = Loop(config(audit__required=required))
    loop.everything()
    loop.controller.on_goal(9.0, 0.0)
    assert loop.tick().mode is Mode.AUTONOMOUS
    loop.controller.set_audit_lost(True)
    decision = loop.tick(5)
    assert decision.mode is mode and Reason.AUDIT_LOST in decision.reasons
    loop.controller.set_audit_lost(False)
    assert loop.tick(5).mode is Mode.AUTONOMOUS


def test_one_commander_or_none_is_no_fault(loop):
    for n in (0, 1):
        loop.controller.set_commanders(n)
        assert loop.tick(1).mode is Mode.AUTONOMOUS
    loop.controller.set_commanders(2)
    assert loop.tick(1).mode is Mode.STOPPED


# -- life -----------------------------------------------------------------------------------------


def test_a_changed_configuration_reaches_every_part(loop):
    loop.tick()
    new = replace_value(replace_value(config(), 'robot.max_speed', 0.06), 'goal.tolerance', 1.5)
    loop.controller.configure(new)
    assert loop.controller.config is new
    loop.controller.on_goal(1.4, 0.0)
    decision = loop.tick(20)
    assert decision.goal is None and decision.reasons == (Reason.GOAL_REACHED,)
    loop.controller.on_goal(9.0, 0.0)
    loop.everything(1.0)
    assert loop.tick(20).command.v <= 0.06 + 1e-12


def test_deactivating_forgets_all(loop):
    loop.tick()
    loop.controller.set_commanders(2)
    loop.tick(20)
    loop.controller.set_commanders(0)
    loop.controller.deactivate()
    c = loop.controller
    assert c._command == Command() and c._stop is None and not c.jumped_back
    assert not c.memory_void and memory(loop).disc[0] and not memory(loop).started[0]
    assert np.isnan(c._gate._last.command).all()
    assert all(item.received is None for item in c.inputs.values())
    decision = loop.tick(5000)
    assert decision.goal is None and 'missed_ticks' not in decision.values
    assert decision.reasons == (Reason.WAITING_FOR_INPUT,)


def test_warming_up_runs_every_kernel_and_leaves_no_trace(loop, monkeypatch):
    made = []

    def watched(*arguments):
        made.append(Gate(*arguments))
        return made[-1]

    before = loop.controller._gate
    monkeypatch.setattr(controller, 'Gate', watched)
    loop.controller.warm_up()
    assert loop.controller._gate is before and not memory(loop).started[0]
    assert (memory(loop).lidar_seen == EMPTY).all()
    gate, = made
    assert gate.config is loop.controller.config
    m = gate._memory
    # eight hits at 1 m round it, one obstacle of the depth camera, all of the camera scan
    assert m.lidar_count[0] == 8 and m.camera_count[0] > 20
    assert gate._last.command[0, 0] == pytest.approx(0.05) and gate._last.time[0] == 0.1


# -- what the supervisor is told ------------------------------------------------------------------


@pytest.mark.parametrize(('name', 'reason', 'mode'), [
    ('motion_disagrees', Reason.MOTION_DISAGREES, Mode.STOPPED),
    ('lidar_implausible', Reason.LIDAR_IMPLAUSIBLE, Mode.CAMERA_ONLY),
    ('lidar_frozen', Reason.LIDAR_FROZEN, Mode.CAMERA_ONLY)])
def test_what_the_intake_found_is_answered(loop, name, reason, mode, monkeypatch):
    if name == 'motion_disagrees':
        loop.controller.motion_disagrees = True
    else:
        monkeypatch.setattr(type(loop.controller), name, property(lambda _: True))
    decision = loop.tick()
    assert reason in decision.reasons and decision.mode is mode


def test_an_input_below_045_of_its_rate_is_said(loop):
    odom = loop.controller.inputs['odom']
    odom.interval = 2.2 / odom.nominal  # 1 / 0.45 = 2.222
    assert Reason.INPUT_SLOW not in loop.tick().reasons
    odom.interval = 2.25 / odom.nominal
    assert Reason.INPUT_SLOW in loop.tick().reasons


def test_without_the_imu_it_stops_where_it_is_asked_for():
    assert ready().tick().mode is Mode.AUTONOMOUS
    decision = ready(config(require_imu=True)).tick()
    assert decision.mode is Mode.STOPPED and Reason.IMU_LOST in decision.reasons


def test_ages_are_shown_by_the_clock_that_counts():
    """0.9 s pass on the wall while the simulation stands."""
    for sim_time, shown in ((True, '0'), (False, '900')):
        loop = ready()
        loop.sim_time = sim_time
        decision = loop.controller.tick(loop.now, loop.steady + 900 * MS, sim_time)
        assert decision.values['age_scan_ms'] == shown


def test_what_cannot_be_placed_does_not_hold_up_the_rest(loop):
    loop.tick()
    loop.time += 50
    loop.odom()
    late = loop.now - 60 * S  # before the history of odometry
    loop.controller.pending.appendleft(DepthPoints(
        late, np.zeros((1, 3), np.float32), np.zeros(1, np.float32)))
    loop.scan([1.0] * 24)
    loop.tick()
    assert loop.controller.values()['unplaced'] == '1'
    assert np.isfinite(memory(loop).scan[0]).all()


@pytest.mark.parametrize('limit', [0.05, 0.15])
def test_with_the_camera_alone_it_keeps_to_that_speed(limit):
    loop = ready(config(gate__camera_only_speed=limit))
    loop.controller._gate.record([[0.15, 0.0]], loop.now / S - 0.05)
    loop.controller.inputs['scan'].clear()
    decision = loop.tick()
    assert decision.mode is Mode.CAMERA_ONLY and decision.command.v <= limit + 1e-9


def test_an_action_that_is_not_one_stops_by_that_name(loop):
    loop.controller.on_action(Action(loop.now + MS, Command(math.nan, 0.0)), loop.steady)
    decision = loop.tick()
    assert decision.mode is Mode.STOPPED and Reason.ACTION_INVALID in decision.reasons
