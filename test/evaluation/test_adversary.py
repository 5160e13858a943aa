"""The adversary itself: hostile enough, judged right, repeatable, resumable."""

import json
import math

import numpy as np
import pytest

from karpathy_control.contracts.config import ConfigError, ControlConfig, from_mapping, to_mapping
from karpathy_control.contracts.types import Pose2
from karpathy_control.contracts.world import Box, Mover, Person, World
from karpathy_control.evaluation import adversary, adversary_batch, adversary_plant
from karpathy_control.evaluation.adversary_batch import Tally, blame, nearest_of_outline, shows
from karpathy_control.evaluation.adversary_oracle import Oracle
from karpathy_control.evaluation.adversary_worlds import make_start, make_world, scene_of
from karpathy_control.evaluation.continuous import clearance, of_world, shapes
from karpathy_control.worlds.bank import pack
from karpathy_control.worlds.batched import BatchedWorld, Leg
from karpathy_control.worlds.variation import Variation

CONTROL = ControlConfig()
MOVING = adversary.control_for('moving')


@pytest.fixture(scope='module')
def static():
    return adversary_batch.run('static', 0, 0, 48, CONTROL, 48)


def test_streams_are_hostile_and_far_enough_and_the_gate_lets_safe_commands_pass(static):
    assert static.episodes == 48 and len(static.travel) == 48
    assert static.provocative >= 0.6 * 48
    assert np.median(static.travel) >= 5.0
    assert static.proved > 100 and static.passed >= 0.95 * static.proved
    assert sum(static.status) == static.commands
    if not static.contacts:
        assert static.commands == 48 * 400


def test_an_episode_does_not_depend_on_the_others_beside_it(static):
    alone = [adversary_batch.run('static', 0, e, 1, CONTROL, 1) for e in (3, 17)]
    assert [t.travel[0] for t in alone] == [static.travel[e] for e in (3, 17)]


def test_without_its_margin_the_gate_is_caught():
    """The adversary must be able to find a broken gate: here one that reacts at once."""
    broken = from_mapping(ControlConfig, {**to_mapping(CONTROL), 'gate.margin': 0.0,
                                          'gate.reaction_time': 0.02,
                                          'robot.deceleration': 20.0})
    found = adversary_batch._Batch('static', 1, np.arange(16), broken)
    found._world.trait('deceleration')[:] = 1.5  # the base brakes far worse than stated
    tally = Tally()
    found.drive(tally)
    assert len(tally.contacts) > 4
    assert all(c['fault'] and c['kind'] == 'static' for c in tally.contacts)


def test_contacts_with_what_moves_are_blamed():
    tally = adversary_batch.run('moving', 0, 0, 8, MOVING, 8)
    assert tally.episodes == 8
    for contact in tally.contacts:
        assert contact['kind'] in ('standing', 'rear-end', 'out of occlusion', 'at fault',
                                   'static')
        assert contact['fault'] == (contact['kind'] in ('at fault', 'static'))


@pytest.mark.parametrize(('arguments', 'kind'), [
    ((0.02, 0.05, 0.5, True, 1.0), 'standing'), ((0.021, 0.0, 0.5, True, 1.0), 'at fault'),
    ((0.0, -0.06, 0.5, True, 1.0), 'at fault'), ((0.5, 0.0, 0.7, True, 1.0), 'too fast'),
    ((0.5, 0.0, 0.5, False, 1.0), 'rear-end'), ((0.5, 0.0, 0.5, True, 0.1), 'out of occlusion'),
])
def test_blame_by_the_invariant(arguments, kind):
    assert blame(*arguments, MOVING) == (kind == 'at fault', kind)


def test_a_scan_shows_a_mover_unless_something_is_before_it():
    scan = np.full(360, np.inf, np.float32)
    mover = np.array((1.0, 2.0, 0.3))
    assert not shows(scan, np.array((0.0, 2.0, 0.0)), mover)
    scan[180] = 0.7  # its front, straight ahead
    assert shows(scan, np.array((0.0, 2.0, 0.0)), mover)
    scan[180] = 0.5
    assert not shows(scan, np.array((0.0, 2.0, 0.0)), mover)
    assert not shows(np.full(360, np.nan, np.float32), np.array((0.0, 2.0, 0.0)), mover)


def test_the_touched_point_of_the_outline():
    square = np.array([(0.2, 0.2), (-0.2, 0.2), (-0.2, -0.2), (0.2, -0.2)])
    point = nearest_of_outline(square, (1.0, 1.0, 0.5 * math.pi), np.array((1.05, 2.0)))
    np.testing.assert_allclose(point, (0.2, -0.05), atol=1e-12)


def test_the_plant_moves_as_the_batched_world_does():
    world = World('test', 0, (-30.0, -30.0, 30.0, 30.0), Pose2(), ((1.0, 0.0),))
    sim = BatchedWorld(pack([world]), 1, CONTROL.robot, Variation())
    sim.reset([0], [Leg(0, (1.0, 2.0, 3.0), (0.0, 0.0))], [5])
    commands = np.random.default_rng(1).uniform((-0.3, -2.0), (1.2, 2.0), (60, 2))
    traits = np.array([sim.trait(name)[0] for name in adversary_plant.TRAITS])
    poses, speeds = adversary_plant.drive(np.array((1.0, 2.0, 3.0)), commands, traits)
    for k, command in enumerate(commands):
        sim.step(command[None])
        np.testing.assert_allclose(poses[5 * k + 5], sim.true_pose[0], atol=1e-12)
        np.testing.assert_allclose(speeds[5 * k + 5], sim.true_velocity[0], atol=1e-12)


def test_people_have_no_tracks():
    people = (Person(((0.0, 0.0), (1.0, 0.0)), 1.0, 0.25),)
    world = World('test', 0, (-3.0, -3.0, 3.0, 3.0), Pose2(), ((1.0, 0.0),), people=people)
    with pytest.raises(ValueError, match='has 1 people'):
        adversary_plant.tracks(world, 10)


def test_tracks_follow_the_movers():
    mover = Mover.patrol(((0.0, 0.0), (1.0, 0.0)), 0.5, 0.2, 0.25)
    world = World('test', 0, (-3.0, -3.0, 3.0, 3.0), Pose2(), ((1.0, 0.0),), movers=(mover,))
    places = adversary_plant.tracks(world, 5, 0.5)
    np.testing.assert_allclose(places[:, 0, 0], (0.25, 0.5, 0.75, 1.0, 0.75))
    np.testing.assert_allclose(places[:, 0, 2], 0.2)


@pytest.mark.parametrize('kind', ['static', 'moving'])
def test_starts_are_free_and_near_something(kind):
    control = adversary.control_for(kind)
    for number in range(12):
        world = make_world(3, number, kind, control)
        assert world == make_world(3, number, kind, control)
        scene = scene_of(world, control)
        start = make_start(world, scene, np.random.default_rng(number), control)
        disc = 0.02 * np.array([(math.cos(a), math.sin(a)) for a in np.linspace(0, 6.0, 16)])
        movers = [(*m.position(0.0), m.radius) for m in world.movers]
        assert clearance(control.robot.polygon, scene, start, movers) > 0.0
        near = clearance(disc, scene, start, movers) + 0.02
        assert near > control.gate.start_radius - 1e-3  # the disc is a polygon of 16 corners
        for m in world.movers:
            assert m.speed < control.gate.obstacle_speed


def test_the_oracle_knows_the_braking_distance():
    """From 1 m/s: 0.17 s of reaction and tick, then 0.2 m: 0.37 m, the bumper and 10 cm."""
    # beside a wall 0.127 m off: turning away for 0.17 s at 6 rad/s^2 and back to rest is 0.17 rad,
    # which brings the rear corner to 0.229 sin 0.17 + 0.208 cos 0.17 = 0.244 of 0.335 m
    oracle = Oracle(CONTROL)
    for gap, safe in ((0.36, False), (0.40, True)):
        wall = shapes((), [[(x, y) for x, y in ((0.0, -1.0), (0.1, -1.0), (0.1, 1.0), (0.0, 1.0))]
                           + np.array((0.229 + 0.1 + gap, 0.0))])
        assert oracle.proves(wall, np.zeros(3), np.array((1.0, 0.0)),
                             np.array((1.0, 0.0))) == safe
    beside = of_world(World('test', 0, (-9, -9, 9, 9), Pose2(), ((1.0, 0.0),),
                            boxes=(Box(0.0, 0.485, 2.0, 0.15),)), 0.0, 0.5)
    assert oracle.proves(beside, np.zeros(3), np.zeros(2), np.array((0.5, 0.0)))
    assert not oracle.proves(beside, np.zeros(3), np.zeros(2), np.array((0.0, -2.0)))


def fake(first, count):
    return Tally(count, 10 * count, count, [9 * count, count, 0, 0], [1.0 * first] * count,
                 [{'episode': first, 'fault': first == 128, 'kind': 'static' if first == 128
                   else 'standing'}], 4, 3)


def test_a_run_goes_on_where_it_was_interrupted(tmp_path, monkeypatch, capsys):
    calls = []

    def drive(first, count):
        calls.append((first, count))
        if calls == [(0, 128), (128, 128)]:
            raise KeyboardInterrupt
        return fake(first, count)

    monkeypatch.setattr(adversary, 'runner', lambda *_: drive)
    arguments = ['--episodes', '300', '--run', str(tmp_path / 'run')]
    with pytest.raises(KeyboardInterrupt):
        adversary.main(arguments)
    with (tmp_path / 'run' / 'chunks-0.jsonl').open('a') as file:
        file.write('{"first": 128, "epi')  # cut off in the middle
    assert adversary.main(arguments) == 1
    assert calls == [(0, 128), (128, 128), (128, 128), (256, 44)]
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures['episodes'] == 300 and figures['contacts'] == 1
    assert figures['not_at_fault'] == {'standing': 2} and figures['contacts_while_moving'] == 0
    assert figures['provocative'] == 1.0 and figures['travel_m'] == 128.0
    assert figures['commands'] == 3000 and figures['liveness'] == 0.75
    calls.clear()
    adversary.main([*arguments[:1], '400', *arguments[2:]])  # the partial chunk is done again
    assert calls == [(256, 128), (384, 16)]
    with pytest.raises(ConfigError, match='seed is 0 there and 1 here'):
        adversary.main([*arguments, '--seed', '1'])


def test_shards_share_the_work_and_refuse_nonsense(monkeypatch):
    calls = []
    monkeypatch.setattr(adversary, 'runner',
                        lambda *_: lambda first, n: calls.append(first) or Tally(n, travel=[6.0]))
    assert adversary.main(['--episodes', '512', '--shard', '1/2']) == 0
    assert calls == [128, 384]
    for wrong in (['--shard', '2/2'], ['--shard', 'x'], ['--episodes', '0']):
        with pytest.raises(SystemExit):
            adversary.main(wrong)
    with pytest.raises(ConfigError, match='NAME=VALUE'):
        adversary.main(['--set', 'gate.margin'])
