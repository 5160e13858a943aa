"""The report of an evaluation: a table of the policies, and a picture of every failure."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from karpathy_control.contracts.config import RobotConfig
from karpathy_control.evaluation.figures import BAD, GOOD, INK, PATH, STYLE, draw_world, png
from karpathy_control.evaluation.pages import image, page, pairs, section, versions
from karpathy_control.evaluation.suites import Episode, Result, Suite, as_driven

PICTURES = 60  # at most, of the failures of one policy
SLOWEST = 6  # successes that are shown too
EDGE = 0.6  # m of a picture beyond what is in it
_NAMES = {'success': 'success', 'success_ci95': '95 %', 'contacts': 'contacts',
          'timeouts': 'time-outs', 'lost': 'lost', 'time_s': 'mean time, s', 'score': 'score',
          'score_ci95': '95 %', 'times_physical_limit': 'times length / 2 m/s'}


def write_suite_report(path: Path, suite: Suite, found: Mapping[str, Sequence[Result]],
                       told: Mapping[str, Mapping[str, Any]], robot: RobotConfig, command: str,
                       first: str) -> Path:
    """Write the report of `found`, the results of each policy, and return `path`.

    told: the figures of each policy; first: the policy that was to be measured.
    """
    failed = {name: [(e, r) for e, r in zip(suite.episodes, results, strict=True)
                     if r.outcome != 'success'] for name, results in found.items()}
    body = section('Policies, on the same episodes', _table(told))
    families = {name: figures.get('families', {}) for name, figures in told.items()}
    if len(families[first]) > 1:
        body += section('Success by family of worlds', _by_family(families))
    for name in (first, *(other for other in found if other != first)):
        if failed[name]:
            body += section(f'Failures: {name}', _pictures(suite, failed[name][:PICTURES], robot)
                            + _left_out(len(failed[name])))
    slow = sorted(((e, r) for e, r in zip(suite.episodes, found[first], strict=True)
                   if r.outcome == 'success'), key=lambda pair: -pair[1].time)[:SLOWEST]
    if slow:
        body += section(f'Slowest successes: {first}', _pictures(suite, slow, robot))
    body += section('Environment', pairs(versions()))
    count, lost = len(suite.episodes), len(failed[first])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(
        'karpathy_control evaluate', (lost == 0, f'{count - lost} of {count}'),
        f'Suite <code>{html.escape(suite.name)}</code>. Again: '
        f'<code>{html.escape(command)}</code>', body), encoding='utf-8')
    return path


def _cell(value: Any) -> str:
    if value is None:
        return '-'
    if isinstance(value, (list, tuple)):
        return f'[{", ".join(_cell(v) for v in value)}]'
    return html.escape(f'{value:g}' if isinstance(value, float) else str(value))


def _rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [''.join(f'<th>{html.escape(name)}</th>' for name in head),
             *(''.join(f'<td>{value}</td>' for value in row) for row in rows)]
    return f'<table>{"".join(f"<tr>{line}</tr>" for line in lines)}</table>'


def _table(told: Mapping[str, Mapping[str, Any]]) -> str:
    known = [key for key in _NAMES if any(figures.get(key) is not None
                                          for figures in told.values())]
    return _rows(['policy', *(_NAMES[key] for key in known)],
                 [[html.escape(name), *(_cell(figures.get(key)) for key in known)]
                  for name, figures in told.items()])


def _by_family(families: Mapping[str, Mapping[str, float]]) -> str:
    names = sorted({family for found in families.values() for family in found})
    return _rows(['policy', *names], [[html.escape(policy), *(_cell(found.get(n)) for n in names)]
                                      for policy, found in families.items()])


def _left_out(count: int) -> str:
    if count <= PICTURES:
        return ''
    return f'<p class="sub">The first {PICTURES} of {count}.</p>'


def _pictures(suite: Suite, episodes: Sequence[tuple[Episode, Result]],
              robot: RobotConfig) -> str:
    figures = []
    for episode, result in episodes:
        world = suite.worlds[episode.world]
        caption = (f'{world.family} {world.seed}, leg {episode.leg}: {result.outcome} after '
                   f'{result.time:.1f} s')
        figures.append(f'<figure>{image(episode_picture(suite, episode, result, robot), caption)}'
                       f'<figcaption>{html.escape(caption)}</figcaption></figure>')
    return f'<div class="frames">{"".join(figures)}</div>'


def episode_picture(suite: Suite, episode: Episode, result: Result, robot: RobotConfig) -> bytes:
    """World, start, goal and the way that was driven, as a PNG."""
    driven = as_driven(suite, episode)
    goal = driven.goals[0]
    track = np.array([(driven.start.x, driven.start.y), *result.track])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 4.2), dpi=80)
        axes = figure.add_subplot()
        draw_world(axes, driven, robot.lidar_pose[2], robot.height)
        axes.plot(track[:, 0], track[:, 1], color=PATH, linewidth=1.6, zorder=4)
        axes.plot(driven.start.x, driven.start.y, 'o', color=INK, markersize=5, zorder=5)
        axes.plot(*goal, marker='*', color=GOOD, markersize=12, zorder=5)
        if result.outcome != 'success':
            axes.plot(track[-1, 0], track[-1, 1], 'x', color=BAD, markersize=9,
                      markeredgewidth=2.2, zorder=6)
        standing = [*((b.x, b.y) for b in driven.boxes), *((c.x, c.y) for c in driven.cylinders)]
        places = np.array([*track, goal, *standing])
        low, high = places.min(0) - EDGE, places.max(0) + EDGE  # the bounds may be far out
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel='', ylabel='')
        return png(figure)
