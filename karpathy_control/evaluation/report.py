"""The report of a driven episode: one HTML file that holds its pictures and needs nothing else."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from karpathy_control.evaluation.figures import latency_figure, path_figure, timeline_figure
from karpathy_control.evaluation.pages import image, page, pairs, section, versions
from karpathy_control.evaluation.run_data import RunData


def _cards(run: RunData) -> str:
    latency = run.done.get('latency_ms') or {}
    cards = [
        ('goals reached', f'{run.reached} / {len(run.goals)}'),
        ('contacts', f'{run.contacts}'),
        ('driving time', f'{run.seconds:.1f} s'),
        ('path', f'{run.distance:.1f} m'),
        ('latency p50', f'{latency["p50"]:.1f} ms' if latency else '-'),
        ('latency p99', f'{latency["p99"]:.1f} ms' if latency else '-'),
        ('missed observations', f'{run.done.get("missed_observations", 0)} of '
                                f'{run.done.get("published_observations", 0)}'),
        ('interventions', f'{run.done.get("interventions", 0)}'),
    ]
    return ''.join(f'<div class="card"><b>{html.escape(value)}</b><span>{html.escape(name)}'
                   '</span></div>' for name, value in cards)


def _goal_table(run: RunData) -> str:
    outcomes = {outcome.index: outcome for outcome in run.outcomes}
    rows = []
    for i, (x, y) in enumerate(run.goals):
        outcome = outcomes.get(i)
        name = outcome.outcome.replace('_', ' ') if outcome else 'not tried'
        kind = 'good' if outcome is not None and outcome.reached else 'bad'
        seconds = f'{outcome.seconds:.1f} s' if outcome else ''
        rows.append(f'<tr><td>{i + 1}</td><td>({x:.2f}, {y:.2f})</td>'
                    f'<td class="{kind}">{html.escape(name)}</td><td>{seconds}</td></tr>')
    return ('<table><tr><th>goal</th><th>position (m)</th><th>outcome</th><th>time</th></tr>'
            + ''.join(rows) + '</table>')


def _frames(run: RunData, whose: str, most: int = 12) -> str:
    """Camera pictures with what was perceived, evenly chosen where there are many."""
    there = [(index, path) for index, path in run.frames if index >= 0 and Path(path).is_file()]
    if not there:
        return ''
    chosen = np.unique(np.linspace(0, len(there) - 1, min(most, len(there))).astype(int))
    pictures = ''.join(
        f'<figure>{image(_jpeg(Path(path)), "camera picture", "jpeg")}'
        f'<figcaption>goal {index + 1}</figcaption></figure>'
        for index, path in (there[i] for i in chosen))
    return section(f'{whose}What the camera saw',
                   '<p class="sub">Camera pictures with the perceived entities drawn in.</p>'
                   f'<div class="frames">{pictures}</div>')


def _jpeg(path: Path, width: int = 800) -> bytes:
    """A picture as JPEG, not wider than `width`: a dozen PNGs would make the page heavy."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        return b''
    if picture.shape[1] > width:
        height = round(picture.shape[0] * width / picture.shape[1])
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, 88])[1])


def _verdict(passed: bool) -> tuple[bool, str]:
    return passed, 'passed' if passed else 'not passed'


def write_report(path: Path, runs: Sequence[RunData], polygon: np.ndarray, lidar_height: float,
                 robot_height: float, command: str, settings: Mapping[str, str]) -> Path:
    """Write the report of one episode, with a run for each robot, to `path` and return it.

    `polygon` (n, 2) m is the robot's footprint in base; the two heights (m) say which obstacles
    its lidar sees. `command` and `settings` are shown so that the episode can be driven again.
    """
    world = runs[0].world
    subtitle = (f'World <code>{html.escape(world.family)}</code>, seed {world.seed}. '
                f'Again: <code>{html.escape(command)}</code>')
    picture = image(path_figure(runs, polygon, lidar_height, robot_height),
                    'driven path over the world')
    body = section('Paths', picture) if len(runs) > 1 else ''
    for run in runs:
        whose = f'Robot {run.robot}: ' if run.robot else ''
        body += f'<div class="cards">{_cards(run)}</div>'
        body += section('Path', picture) if len(runs) == 1 else ''
        body += section(f'{whose}Goals', _goal_table(run)) + _frames(run, whose)
        body += section(f'{whose}Latency', image(latency_figure(
            run.done.get('latencies', []), run.done.get('stages_ms', {})), 'latency histogram'))
        body += section(f'{whose}Over time',
                        image(timeline_figure(run), 'speed and interventions'))
    body += section('Environment', pairs({**settings, **versions()}))
    path.parent.mkdir(parents=True, exist_ok=True)
    verdict = _verdict(all(run.passed for run in runs))
    path.write_text(page('karpathy_control demo', verdict, subtitle, body), encoding='utf-8')
    return path


def write_index(path: Path, result: Mapping[str, Any], family: str, command: str) -> Path:
    """Write the overview of several seeds, with a link to each one's report; returns `path`."""
    rows: Sequence[Mapping[str, Any]] = result['seeds']
    lines = []
    for row in rows:
        good = row['reached'] == row['goals'] and row['contacts'] == 0
        latency = row['latency_ms']
        link = os.path.relpath(row['report'], path.parent) if row['report'] else ''
        lines.append(
            f'<tr><td>{row["seed"]}</td><td class="{"good" if good else "bad"}">{row["reached"]} '
            f'/ {row["goals"]}</td><td>{row["contacts"]}</td><td>{row["seconds"]:.1f} s</td>'
            f'<td>{latency.get("p50", "-")} / {latency.get("p99", "-")}</td>'
            f'<td>{row["missed_observations"]}</td><td>{row["interventions"]}</td>'
            f'<td><a href="{html.escape(link)}">report</a></td></tr>')
    table = ('<table><tr><th>seed</th><th>reached</th><th>contacts</th><th>time</th>'
             '<th>latency p50 / p99 (ms)</th><th>missed</th><th>interventions</th><th></th></tr>'
             + ''.join(lines) + '</table>')
    passed = result['reached'] == result['goals'] and result['contacts'] == 0
    body = section(f'{result["reached"]} of {result["goals"]} goals, {result["contacts"]} '
                    'contacts', table) + section('Environment', pairs(versions()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page('karpathy_control demo, several seeds', _verdict(passed),
                          f'World <code>{html.escape(family)}</code>. Again: '
                          f'<code>{html.escape(command)}</code>', body), encoding='utf-8')
    return path
