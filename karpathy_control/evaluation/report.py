"""The report of a driven episode: one HTML file that holds its pictures and needs nothing else."""

from __future__ import annotations

import base64
import html
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from karpathy_control.evaluation.figures import latency_figure, path_figure, timeline_figure
from karpathy_control.evaluation.run_data import RunData

PACKAGES = ('rclpy', 'torch', 'mujoco-core', 'mujoco', 'numpy', 'numba', 'scipy',
            'opencv-python-headless', 'onnxruntime')

_CSS = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f7fa; color: #1f2933;
       font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1020px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 25px; margin: 0 0 2px; } h2 { font-size: 17px; margin: 0 0 12px; }
.sub { color: #616e7c; margin: 0 0 20px; }
.verdict { display: inline-block; padding: 2px 12px; border-radius: 999px; color: #fff;
           font-size: 14px; font-weight: 600; vertical-align: middle; margin-left: 8px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 12px; }
.card, section { background: #fff; border: 1px solid #e4e7eb; border-radius: 10px; }
.card { padding: 12px 14px; } .card b { display: block; font-size: 22px; line-height: 1.25; }
.card span { color: #616e7c; font-size: 13px; }
section { margin-top: 18px; padding: 18px 20px; }
img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
.frames { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 12px; }
.frames img { width: 100%; border-radius: 6px; }
figure { margin: 0; } figcaption { color: #616e7c; font-size: 13px; margin-top: 4px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 5px 10px 5px 0; border-bottom: 1px solid #e4e7eb; }
th { color: #616e7c; font-weight: 600; }
td.good { color: #1f9d55; font-weight: 600; } td.bad { color: #d64545; font-weight: 600; }
code { background: #f5f7fa; padding: 1px 5px; border-radius: 4px; font-size: 13px; }
"""


def versions() -> dict[str, str]:
    """What the episode ran on, by name; packages that are not there are left out."""
    found = {'Python': platform.python_version(), 'system': platform.platform(terse=True),
             'processor cores': str(len(os.sched_getaffinity(0))
                                    if hasattr(os, 'sched_getaffinity') else os.cpu_count())}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _image(data: bytes, caption: str, kind: str = 'png') -> str:
    text = html.escape(caption)
    source = f'data:image/{kind};base64,' + base64.b64encode(data).decode()
    return f'<img src="{source}" alt="{text}">'


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


def _frames(run: RunData, most: int = 12) -> str:
    """Camera pictures with what was perceived, evenly chosen where there are many."""
    there = [(index, path) for index, path in run.frames if index >= 0 and Path(path).is_file()]
    if not there:
        return ''
    chosen = np.unique(np.linspace(0, len(there) - 1, min(most, len(there))).astype(int))
    pictures = ''.join(
        f'<figure>{_image(_jpeg(Path(path)), "camera picture", "jpeg")}'
        f'<figcaption>goal {index + 1}</figcaption></figure>'
        for index, path in (there[i] for i in chosen))
    return _section('What the camera saw', '<p class="sub">Camera pictures with the perceived '
                    f'entities drawn in.</p><div class="frames">{pictures}</div>')


def _jpeg(path: Path, width: int = 800) -> bytes:
    """A picture as JPEG, not wider than `width`: a dozen PNGs would make the page heavy."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        return b''
    if picture.shape[1] > width:
        height = round(picture.shape[0] * width / picture.shape[1])
        picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, 88])[1])


def _section(title: str, body: str) -> str:
    return f'<section><h2>{html.escape(title)}</h2>{body}</section>'


def _pairs(values: Mapping[str, str]) -> str:
    return '<table>' + ''.join(f'<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>'
                               for k, v in values.items()) + '</table>'


def _page(title: str, verdict: bool, subtitle: str, body: str) -> str:
    colour, word = ('#1f9d55', 'passed') if verdict else ('#d64545', 'not passed')
    return (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<title>{html.escape(title)}</title><style>{_CSS}</style></head><body><main>'
            f'<h1>{html.escape(title)}<span class="verdict" style="background:{colour}">{word}'
            f'</span></h1><p class="sub">{subtitle}</p>{body}</main></body></html>\n')


def write_report(path: Path, run: RunData, polygon: np.ndarray, lidar_height: float,
                 robot_height: float, command: str, settings: Mapping[str, str]) -> Path:
    """Write the report of one episode to `path` and return it.

    `polygon` (n, 2) m is the robot's footprint in base; the two heights (m) say which obstacles
    its lidar sees. `command` and `settings` are shown so that the episode can be driven again.
    """
    world = run.world
    subtitle = (f'World <code>{html.escape(world.family)}</code>, seed {world.seed}. '
                f'Again: <code>{html.escape(command)}</code>')
    body = f'<div class="cards">{_cards(run)}</div>' + _section(
        'Path', _image(path_figure(run, polygon, lidar_height, robot_height),
                       'driven path over the world')) + _section('Goals', _goal_table(run))
    body += _frames(run)
    body += _section('Latency', _image(latency_figure(
        run.done.get('latencies', []), run.done.get('stages_ms', {})), 'latency histogram'))
    body += _section('Over time', _image(timeline_figure(run), 'speed and interventions'))
    body += _section('Environment', _pairs({**settings, **versions()}))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_page('karpathy_control demo', run.passed, subtitle, body), encoding='utf-8')
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
    body = _section(f'{result["reached"]} of {result["goals"]} goals, {result["contacts"]} '
                    'contacts', table) + _section('Environment', _pairs(versions()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_page('karpathy_control demo, several seeds', passed,
                          f'World <code>{html.escape(family)}</code>. Again: '
                          f'<code>{html.escape(command)}</code>', body), encoding='utf-8')
    return path
