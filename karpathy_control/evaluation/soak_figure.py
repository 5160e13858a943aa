"""Picture of a soak run: memory of every process, and how soon the robot drove again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from karpathy_control.evaluation.figures import BAD, INK, MUTED, PATH, STAGE_COLOURS, STYLE, png
from karpathy_control.evaluation.soak_judge import lives

COLOURS = {**STAGE_COLOURS, 'sim': INK, 'observer': MUTED, 'runner': PATH}
MARKERS = {'kill': 'o', 'term': 's', 'stop': '^'}


def figure(events: Sequence[Mapping[str, Any]]) -> bytes:
    """A PNG; time in minutes."""
    samples = [e for e in events if e['event'] == 'sample']
    strikes = [e for e in events if e['event'] == 'strike']
    with mpl.rc_context({**STYLE, 'figure.dpi': 100}):
        page = Figure(figsize=(8.4, 5.4))
        memory, recovery = page.subplots(2, 1, sharex=True, height_ratios=(1.6, 1))
        for name, known in lives(samples).items():
            for number, life in enumerate(known):
                memory.plot([t / 60.0 for t, _ in life.memory],
                            [v / 1e6 for _, v in life.memory], linewidth=1.0,
                            color=COLOURS.get(name), label='' if number else name)
        memory.plot([s['t'] / 60.0 for s in samples], [s['shared'] / 1e6 for s in samples],
                    color=MUTED, linewidth=1.0, linestyle='--', label='shared memory, all files')
        memory.set(ylabel='MB', title='memory of each process, without code')
        memory.set_ylim(bottom=0)
        if samples:
            memory.legend(loc='upper left', bbox_to_anchor=(1.0, 1.0), fontsize=8.5)
        for node in sorted({e['node'] for e in strikes}):
            for how, marker in MARKERS.items():
                at = [(e['t'] / 60.0, e['recovery_s']) for e in strikes
                      if (e['node'], e['how']) == (node, how) and e['recovery_s'] is not None]
                if at:
                    recovery.scatter(*zip(*at, strict=True), s=14, marker=marker,
                                     color=COLOURS[node])
        for e in strikes:
            if e['recovery_s'] is None:
                recovery.axvline(e['t'] / 60.0, color=BAD, linewidth=1.2)
        recovery.set(ylabel='s', xlabel='minutes',
                     title='from the blow until the robot drives again (colour: the node)')
        recovery.set_ylim(bottom=0)
        page.tight_layout()
        return png(page)
