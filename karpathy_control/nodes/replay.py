"""A recorded drive through sensor, perception and policy again; see bringup/replay.py."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.serialization import deserialize_message

from karpathy_control.bags.agreement import Tally, Values
from karpathy_control.bags.journal import Chunk, parse
from karpathy_control.bags.reading import read_bag
from karpathy_control.bags.shelf import Item, Shelf, items
from karpathy_control.contracts.card import WeightsError
from karpathy_control.contracts.config import ConfigError
from karpathy_control.nodes import clouds, convert
from karpathy_control.nodes.journaling import made_with
from karpathy_control.nodes.qos import message_type, topic
from karpathy_control.nodes.replay_stages import (
    PerceptionStage,
    PolicyStage,
    SensorStage,
    Set,
    Stage,
    Take,
)
from karpathy_control.nodes.spin import EXIT_REFUSED

EXIT_DIFFERS = 1
STAGES: dict[str, type[Stage]] = {stage.NODE: stage for stage in (
    SensorStage, PerceptionStage, PolicyStage)}
CHAIN = 'chain'


def _scan(message: Any) -> Values:
    scan = convert.layout_scan(message)
    return {'ranges': scan.ranges, 'range_max': np.array(scan.range_max)}


def _state(message: Any) -> Values:
    p, q, t = message.pose.pose.position, message.pose.pose.orientation, message.twist.twist
    return {'position': np.array([p.x, p.y]), 'orientation': np.array([q.z, q.w]),
            'twist': np.array([t.linear.x, t.angular.z])}


def _goal(message: Any) -> Values:
    there = bool(message.header.frame_id)
    return {'position': np.array(convert.position(message) if there else [])}


def _depth_points(message: Any) -> Values:
    points = clouds.depth_points(message, (0.0, 0.0))
    return {'xyz': points.xyz, 'kind': points.kind}


def _action(message: Any) -> Values:
    command, _ = convert.command(message)
    return {'v': np.array(command.v), 'w': np.array(command.w)}


def _pixels(message: Any) -> Values:
    return {'pixels': np.frombuffer(
        message.data, np.uint8 if message.encoding == 'rgb8' else np.float32)}


# What is compared of each message. Frames are the configuration's.
VALUES: dict[str, Callable[[Any], Values]] = {
    'observation/image': _pixels, 'observation/depth': _pixels, 'observation/imu': _pixels,
    'observation/scan': _scan, 'observation/depth_points': _depth_points,
    'observation/goal': _goal, 'observation/state': _state,
    'observation/plan': lambda m: {'points': convert.path_points(m)},
    'perception/entities': lambda m: {'table': clouds.entities_table(m),
                                      'unsure': np.array(clouds.unsure(m))},
    'perception/scan': _scan, 'perception/relations': _pixels,
    'policy/action': _action, 'policy/path': lambda m: {'points': convert.path_points(m)},
}


class Bag:
    """A recording in one namespace, by topic and stamp."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self._folder = folder
        names = {*VALUES, *(f'{node}/journal' for node in STAGES), *SENSOR_INPUTS}
        self._names = {f'{namespace}/{name}': name for name in names}
        self.journals: dict[str, list[Chunk]] = {node: [] for node in STAGES}
        self._keys: dict[str, set[tuple[str, int]]] = {}
        for message in read_bag(folder, set(self._names)):
            name = self._names[message.topic]
            if message.type != topic(name).type:
                raise ConfigError(f'{folder}: {message.topic} is of type {message.type}; it '
                                  f'takes {topic(name).type}')
            node, _, last = name.partition('/')
            if last == 'journal':
                self.journals[node].append(parse(deserialize_message(
                    message.data, message_type(message.type)).data))
            else:
                for item in items([message], self._names):
                    self._keys.setdefault(name, set()).add((name, item.stamp))

    def require(self, needed: set[str]) -> None:
        """ConfigError naming the topics that are not in the bag, and how to record them."""
        missing = sorted(name for name in needed if name not in self._keys and not (
            name.endswith('/journal') and self.journals[name.partition('/')[0]]))
        if missing:
            raise ConfigError(
                f'{self._folder}: holds no {", ".join(missing)}; karpathy-control record takes '
                'them by default, and with --topics where they are named; --stages says what to '
                'replay without')

    def shelf(self, names: set[str]) -> Shelf:
        """The messages of some topics."""
        wanted = {full for full, name in self._names.items() if name in names}
        return Shelf(items(read_bag(self._folder, wanted), self._names),
                     set().union(*(self._keys.get(name, set()) for name in names)))

    def stamps(self, name: str) -> list[int]:
        """Of all messages of a topic, in order."""
        return sorted(stamp for _, stamp in self._keys.get(name, ()))


SENSOR_INPUTS = ('camera/image_raw', 'camera/camera_info', 'camera/depth', 'scan', 'imu', 'odom',
                 'control/goal', 'plan')


def opened(shelf: Shelf, name: str, stamp: int) -> Any | None:
    """A message of the bag, read."""
    found = shelf.take(name, stamp)
    return None if found is None else deserialize_message(found.data, message_type(found.type))


class Comparison:
    """Compares the sets of a stage with the bag as they pass."""

    def __init__(self, bag: Bag, stage: type[Stage], tally: Tally) -> None:
        self.tally = tally
        self._stage = stage
        self._topics = [name for name in stage.OUTPUTS if bag.stamps(name)]
        self._shelf = bag.shelf(set(self._topics))
        self._stamps = bag.stamps(stage.ANCHOR)
        self._next = 0  # of the stamps

    def watch(self, sets: Iterator[Set | None]) -> Iterator[Set]:
        """Pass the sets on, each after it was compared."""
        whole = False  # whether nothing was lost since the last one
        for found in sets:
            if found is None:
                whole = False
                continue
            stamp, messages = found
            self._skipped(stamp, whole)
            whole = True
            for name in self._topics:
                self.tally.compare(name, stamp, _values(name, messages.get(name)),
                                   _values(name, opened(self._shelf, name, stamp)))
            yield found

    def _skipped(self, stamp: int, whole: bool) -> None:
        """Sets of the bag before this one that were not replayed."""
        if self._next and self._stamps[self._next - 1] > stamp:
            self._next = 0  # the clock was set back
        while self._next < len(self._stamps) and self._stamps[self._next] <= stamp:
            if whole and self._stamps[self._next] < stamp:
                name = self._stage.ANCHOR
                self.tally.compare(name, self._stamps[self._next], None, {})
            self._next += 1


def _values(name: str, message: Any | None) -> Values | None:
    return None if message is None else VALUES[name](message)


def replay_stage(bag: Bag, name: str, tolerance: float) -> Tally:
    """One stage on what was recorded before it."""
    stage = STAGES[name]()
    chunks = bag.journals[name]
    needs = stage.needs(chunks)
    bag.require({f'{name}/journal', stage.ANCHOR, *needs})
    shelf, tally = bag.shelf(needs), Tally(tolerance)

    def take(topic_name: str, stamp: int) -> Any | None:
        message = opened(shelf, topic_name, stamp)
        if message is None:
            tally.lost[topic_name] = tally.lost.get(topic_name, 0) + 1
        return message

    for _ in Comparison(bag, STAGES[name], tally).watch(stage.play(chunks, take)):
        tally.sets += 1
    stage.close()
    tally.late = stage.late
    return tally


def _stream(sets: Iterator[Set]) -> Iterator[Item]:
    for stamp, messages in sets:
        for name, message in messages.items():
            yield Item(name, stamp, stamp, message)


def replay_chain(bag: Bag, tolerance: float) -> Tally:
    """Raw topics to actions with nothing recorded in between; what was recorded is compared."""
    sensor, perception, policy = (STAGES[name]() for name in STAGES)
    raw = sensor.needs(bag.journals['sensor'])
    bag.require({*(f'{name}/journal' for name in STAGES), PolicyStage.ANCHOR, *raw})
    tally = Tally(tolerance)

    def watched(stage: Stage, take: Take) -> Iterator[Set]:
        sets = stage.play(bag.journals[stage.NODE], take)
        return Comparison(bag, type(stage), tally).watch(sets)

    observations = Shelf(_stream(watched(sensor, partial(opened, bag.shelf(raw)))))
    entities = Shelf(_stream(watched(perception, observations.take)))

    def take(name: str, stamp: int) -> Any | None:
        return (observations if name.startswith('observation/') else entities).take(name, stamp)

    for _ in watched(policy, take):
        tally.sets += 1
    policy.close()
    tally.late = policy.late
    return tally


def told(name: str, tally: Tally) -> str:
    """One stage as a line for people."""
    text = (f'{name:10} {tally.sets:6} sets  {tally.compared:6} messages compared  '
            f'{tally.identical:6} identical  largest difference {tally.largest:.3g}')
    if tally.late:
        text += f'  {tally.late} late plans, as recorded'
    if tally.lost:
        text += f'\n{"":10} not in the bag, gone on behind: ' + ', '.join(
            f'{n} of {topic_name}' for topic_name, n in tally.lost.items())
    if tally.first is not None:
        text += ('\n{:10} first: {topic} at {stamp} ns, {what}: {difference}'
                 .format('', **tally.first))
    elif not tally.compared:
        text += f'\n{"":10} nothing was compared: no state of the journal is followed by a set'
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Replay, and say what agrees; the last line is JSON. Status 1 where something does not."""
    parser = argparse.ArgumentParser(prog='replay', description=__doc__)
    parser.add_argument('--bag', type=Path, required=True)
    parser.add_argument('--stages', required=True, help='comma list')
    parser.add_argument('--tolerance', type=float, required=True)
    parser.add_argument('--namespace', required=True)
    a = parser.parse_args(argv)
    tallies: dict[str, Tally] = {}
    try:
        bag = Bag(a.bag, a.namespace)
        for name in a.stages.split(','):
            tallies[name] = (replay_chain(bag, a.tolerance) if name == CHAIN
                             else replay_stage(bag, name, a.tolerance))
            print(told(name, tallies[name]), flush=True)
    except (ConfigError, WeightsError, FileNotFoundError) as error:
        print(f'replay: {error}', file=sys.stderr)
        return EXIT_REFUSED
    here = made_with()
    chunks = [chunk for name in STAGES for chunk in bag.journals[name]]
    other = {key: [value, here.get(key, '')] for chunk in chunks
             for key, value in chunk.made_with.items() if value != here.get(key)}
    for key, (then, now) in other.items():
        print(f'{key}: recorded with {then!r}, replayed with {now!r}')
    agrees = all(tally.agrees for tally in tallies.values())
    print(json.dumps({'bag': str(a.bag), 'tolerance': a.tolerance, 'agrees': agrees,
                      'stages': {name: tally.report() for name, tally in tallies.items()},
                      'made_with_other': other}))
    return 0 if agrees else EXIT_DIFFERS


if __name__ == '__main__':
    sys.exit(main())
