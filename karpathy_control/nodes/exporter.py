"""Recorded drives as a LeRobot dataset; see bringup/export.py.

Two passes over every bag: the first reads all but keeps no picture, and says what the frames and
the episodes are; the second takes the pictures of the frames, in order.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message

from karpathy_control.bags.frames import frame_period, join, split
from karpathy_control.bags.lerobot_format import Column, DatasetWriter
from karpathy_control.bags.privacy import pixelate
from karpathy_control.bags.reading import BagMessage, read_bag
from karpathy_control.bags.shelf import Shelf, items
from karpathy_control.bringup.robots import load_profile
from karpathy_control.contracts.config import ConfigError
from karpathy_control.contracts.geometry import from_frame
from karpathy_control.contracts.layout import SCAN_BEAMS
from karpathy_control.contracts.types import NANOSECONDS, Command, Scan, State
from karpathy_control.nodes import convert
from karpathy_control.nodes.qos import message_type, topic
from karpathy_control.nodes.spin import EXIT_REFUSED

CHANGED = 1e-3  # m/s or rad/s: a command that differs by more is not what the policy asked for
RATE_OFF = 0.1  # of fps: a bag whose observations come at another rate is refused
_BEAMS = tuple(f'{2 * i + 1 - SCAN_BEAMS}' for i in range(SCAN_BEAMS))
_COMMAND = ('v', 'w')
# What a frame has beside its picture. `proposal` is what the policy asked for, `action` what went
# out; `pose` and `stamp` are not of the observation, so their names do not begin like it.
COLUMNS = {
    'observation.state': Column('float32', ('v', 'w', 'goal_x', 'goal_y')),
    'observation.scan': Column('float32', tuple(f'range_{name}' for name in _BEAMS)),
    'observation.scan_known': Column('float32', tuple(f'known_{name}' for name in _BEAMS)),
    'action': Column('float32', _COMMAND),
    'proposal': Column('float32', _COMMAND),
    'pose': Column('float32', ('x', 'y', 'yaw')),
    'stamp': Column('int64', ('stamp',)),
}


@dataclass
class Heard:
    """What a bag holds, each by stamp (ns); stamps as they came, one for every message."""

    stamps: dict[str, list[int]] = field(default_factory=lambda: {
        name: [] for name in ('state', 'scan', 'image', 'goal', 'proposal', 'command')})
    states: dict[int, State] = field(default_factory=dict)
    scans: dict[int, Scan] = field(default_factory=dict)
    goals: dict[int, tuple[float, float] | None] = field(default_factory=dict)  # base
    proposals: dict[int, Command] = field(default_factory=dict)
    commands: dict[int, Command] = field(default_factory=dict)
    sizes: set[tuple[int, int]] = field(default_factory=set)  # height and width of pictures
    refused: Counter[str] = field(default_factory=Counter)  # messages, by topic
    answering: bool = False  # whether control said which command went out for which action


class Bag:
    """A recording of one robot, and the frames in it."""

    def __init__(self, folder: Path, namespace: str, camera: str) -> None:
        """Read all but the pictures. Raises ConfigError for a bag that lacks a topic."""
        self.folder, self._camera = folder, camera
        takers: dict[str, Callable[[Any], None]] = {
            'observation/state': self._state, 'observation/scan': self._scan,
            'observation/goal': self._goal, camera: self._image,
            'policy/action': self._proposal, 'control/state': self._answers}
        self._names = {f'{namespace}/{name}': name for name in takers}
        self.heard = Heard()
        seen: set[str] = set()
        for message in read_bag(folder, set(self._names)):
            name = self._names[message.topic]
            seen.add(name)
            try:
                takers[name](self._read(message))
            except convert.InvalidMessage:
                self.heard.refused[name] += 1
        missing = sorted(set(takers) - seen)
        if missing:
            raise ConfigError(f'{folder}: holds no {", ".join(missing)} in namespace '
                              f'{namespace or "/"!r}; karpathy-control record takes them by '
                              'default, and with --topics where they are named')
        if not self.heard.answering:
            raise ConfigError(f'{folder}: control/state does not say which command went out for '
                              f'which action (no {convert.ANSWERS!r}); it was recorded by a '
                              'version before that, record it again')
        self.stamps, self.dropped = join(self.heard.stamps, [
            stamp for stamp, goal in self.heard.goals.items() if goal is None])
        self.period = frame_period(self.heard.stamps['state'])

    def _read(self, message: BagMessage) -> Any:
        name = self._names[message.topic]
        if message.type != topic(name).type:
            raise ConfigError(f'{self.folder}: {message.topic} is of type {message.type}; it '
                              f'takes {topic(name).type}')
        return deserialize_message(message.data, message_type(message.type))

    def _state(self, message: Any) -> None:
        state = convert.state(message)
        self.heard.stamps['state'].append(state.stamp)
        self.heard.states[state.stamp] = state

    def _scan(self, message: Any) -> None:
        scan = convert.layout_scan(message)
        self.heard.stamps['scan'].append(scan.stamp)
        self.heard.scans[scan.stamp] = scan

    def _goal(self, message: Any) -> None:
        stamp = convert.stamp_ns(message.header)
        self.heard.goals[stamp] = convert.position(message) if message.header.frame_id else None
        self.heard.stamps['goal'].append(stamp)

    def _image(self, message: Any) -> None:
        picture = convert.raw_image(message)
        self.heard.stamps['image'].append(picture.stamp)
        self.heard.sizes.add((picture.pixels.shape[0], picture.pixels.shape[1]))

    def _proposal(self, message: Any) -> None:
        command, stamp = convert.command(message)
        assert stamp is not None  # the table says TwistStamped
        self.heard.stamps['proposal'].append(stamp)
        self.heard.proposals[stamp] = command

    def _answers(self, message: Any) -> None:
        text = next((i.value for i in message.values if i.key == convert.ANSWERS), None)
        self.heard.answering |= text is not None
        for answer in convert.answers(text or ''):
            self.heard.stamps['command'].append(answer.stamp)
            self.heard.commands[answer.stamp] = answer.command

    def episodes(self, period: float) -> tuple[list[list[int]], Counter[str]]:
        """Stamps of the frames of each episode, and the number of cuts by cause."""
        goals = [self._goal_in_odom(stamp) for stamp in self.stamps]
        spans, cuts = split(self.stamps, goals, period)
        return [self.stamps[start:end] for start, end in spans], cuts

    def _goal_in_odom(self, stamp: int) -> tuple[float, float]:
        goal = self.heard.goals[stamp]
        assert goal is not None  # a frame has one
        x, y = from_frame([goal], self.heard.states[stamp].pose)[0]
        return float(x), float(y)

    def values(self, stamps: Sequence[int]) -> dict[str, NDArray[Any]]:
        """Every column of COLUMNS for some frames. Shapes: (n, number of names).

        In `observation.scan` free is the range of the scan and unknown 0, told apart by
        `observation.scan_known`: neither infinity nor NaN survives statistics.
        """
        h = self.heard
        states = [h.states[s] for s in stamps]
        ranges = np.array([np.minimum(h.scans[s].ranges, h.scans[s].range_max) for s in stamps])
        known = ~np.isnan(ranges)

        def pairs(commands: dict[int, Command]) -> NDArray[np.float64]:
            return np.array([(commands[s].v, commands[s].w) for s in stamps])

        return {
            'observation.state': np.array([(state.v, state.w, *h.goals[s])  # type: ignore[misc]
                                           for s, state in zip(stamps, states, strict=True)]),
            'observation.scan': np.where(known, ranges, 0.0), 'observation.scan_known': known,
            'action': pairs(h.commands), 'proposal': pairs(h.proposals),
            'pose': np.array([(s.x, s.y, s.yaw) for s in states]),
            'stamp': np.array(stamps, np.int64)[:, None]}

    def shelf(self) -> Shelf:
        """The pictures, to be taken in the order of the frames."""
        topics = {full for full, name in self._names.items() if name == self._camera}
        return Shelf(items(read_bag(self.folder, topics), self._names),
                     {(self._camera, stamp) for stamp in self.stamps})

    def pictures(self, shelf: Shelf, stamps: Sequence[int], cells: int
                 ) -> Iterator[NDArray[np.uint8]]:
        """Pictures of some frames, pixelated where `cells` is not 0."""
        for stamp in stamps:
            message = shelf.take(self._camera, stamp)
            assert message is not None  # the first pass saw it
            pixels = convert.raw_image(self._read(message)).pixels
            yield pixelate(pixels, cells) if cells else pixels


def common_rate(bags: Sequence[Bag]) -> int:
    """Frames a second of all bags. ConfigError where one is of another rate."""
    fps = max(1, round(NANOSECONDS / float(np.median([bag.period for bag in bags]))))
    for bag in bags:
        rate = NANOSECONDS / bag.period
        if abs(rate - fps) > RATE_OFF * fps:
            raise ConfigError(f'{bag.folder}: its observations come at {rate:.2f} Hz; a dataset '
                              f'has one rate, a whole number, here {fps}')
    return fps


def common_size(bags: Sequence[Bag], cells: int) -> tuple[int, int]:
    """Height and width of all pictures. ConfigError where they differ, or are too small."""
    sizes = sorted(set().union(*(bag.heard.sizes for bag in bags)))
    if len(sizes) != 1:
        raise ConfigError('pictures of ' + ', '.join(f'{w} x {h}' for h, w in sizes) + ' pixels; '
                          'a dataset has one size (--camera observation/image has)')
    if cells >= sizes[0][1]:
        raise ConfigError(f'--blur {cells}: a picture is {sizes[0][1]} pixels wide, so it takes '
                          'fewer cells, or 0 for pictures as they are')
    return sizes[0]


def export(a: argparse.Namespace) -> dict[str, Any]:
    """Write the dataset; returns what the last line says."""
    robot = load_profile(a.robot).name
    bags = [Bag(folder, a.namespace, a.camera) for folder in a.bag]
    fps, size = common_rate(bags), common_size(bags, a.blur)
    writer = DatasetWriter(a.out, fps, robot, a.task, size, COLUMNS)
    dropped, cuts, refused, short = Counter[str](), Counter[str](), Counter[str](), [0, 0]
    changed = stopped = sets = 0
    for bag in bags:
        episodes, cut = bag.episodes(NANOSECONDS / fps)
        shelf, before = bag.shelf(), (writer.episodes, writer.frames)
        for stamps in episodes:
            if len(stamps) < max(2.0, a.shortest * fps):
                short[0] += 1
                short[1] += len(stamps)
                continue
            values = bag.values(stamps)
            writer.add(values, bag.pictures(shelf, stamps, a.blur))
            change = np.abs(values['action'] - values['proposal'])
            changed += int((change > CHANGED).any(1).sum())
            stopped += int((values['action'] == 0.0).all(1).sum())
        dropped += bag.dropped
        cuts += cut
        refused += bag.heard.refused
        sets += len(bag.stamps) + bag.dropped.total()
        print(f'{bag.folder}: {writer.episodes - before[0]} episodes, '
              f'{writer.frames - before[1]} frames', flush=True)
    report = {
        'out': str(a.out), 'format': 'lerobot v3.0', 'bags': len(bags), 'fps': fps,
        'episodes': writer.episodes, 'frames': writer.frames, 'observations': sets,
        'dropped': dict(sorted(dropped.items())),
        'short': {'episodes': short[0], 'frames': short[1]},
        'cuts': dict(sorted(cuts.items())), 'refused': dict(sorted(refused.items())),
        'changed_by_control': changed, 'stopped': stopped, 'picture': [size[1], size[0]],
        'blur': a.blur}
    if not writer.episodes:
        raise ConfigError(f'no episode of {a.shortest} s or more: {json.dumps(report)}')
    writer.close()
    return report


def main(argv: Sequence[str] | None = None) -> int:
    """Export, and say what was left out; the last line is JSON."""
    parser = argparse.ArgumentParser(prog='exporter', description=__doc__)
    parser.add_argument('--bag', type=Path, required=True, nargs='+')
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--camera', required=True)
    parser.add_argument('--blur', type=int, required=True)
    parser.add_argument('--task', required=True)
    parser.add_argument('--shortest', type=float, required=True)
    parser.add_argument('--namespace', required=True)
    parser.add_argument('--robot', required=True)
    a = parser.parse_args(argv)
    try:
        report = export(a)
    except ConfigError as error:
        print(f'export: {error}', file=sys.stderr)
        return EXIT_REFUSED
    if not a.blur:
        print('pictures are as the camera saw them: who was in view is in the dataset')
    print(json.dumps(report))
    return 0


if __name__ == '__main__':
    sys.exit(main())
