"""Every figure of the README: the command that measures it, and how its JSON becomes the text.

A measurement is one run; its last line of standard output is one JSON object (doc/results.md), and
each of its figures becomes a row of the table. In a command `{barn}` and `{dynabarn}` stand for
files that the user brings, `{run}` for a folder of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

Result = Mapping[str, Any]

# What the user brings, by its place in a command, and the option of `figures` that names it.
BROUGHT = ('barn', 'dynabarn')


@dataclass(frozen=True)
class Row:
    """One row of the README: what it is, its text from the JSON, and what it should be.

    `met` is whether the aim is met, of the same JSON; always where there is no aim.
    """

    key: str
    what: str
    text: Callable[[Result], str]
    aim: str = ''
    met: Callable[[Result], bool] = lambda _: True


@dataclass(frozen=True)
class Measurement:
    """One run and the rows that come of it."""

    name: str
    command: str
    rows: tuple[Row, ...]
    quick: Mapping[str, str] = field(default_factory=dict)  # options of a smaller run
    before: str = ''  # a command that runs beforehand, and
    beside: str = ''  # one that runs as long as that

    @property
    def needs(self) -> tuple[str, ...]:
        """What the user must bring."""
        return tuple(name for name in BROUGHT if f'{{{name}}}' in self.command)

    @property
    def shown(self) -> str:
        """The command as the README has it."""
        text = ', then '.join(part for part in (self.before, self.command) if part)
        for name in BROUGHT:
            text = text.replace(f'{{{name}}}', 'FILE')
        return text.replace('{run}', 'RUN')


def plain(value: float, digits: int = 3) -> str:
    """A share without the zero before its point: 1.000, .957, 0."""
    if value == 0.0:
        return '0'
    text = f'{value:.{digits}f}'
    return text.removeprefix('0') if text.startswith('0.') else text


def interval(bounds: tuple[float, float], digits: int = 3) -> str:
    """An interval of shares; a bound that is exactly 1 as 1, small ones in powers of ten."""
    return '[{}, {}]'.format(*('1' if v == 1.0 else plain(v, digits) if not 0.0 < v < 1e-3
                               else f'{v:.1e}'.replace('e-0', 'e-') for v in bounds))


def count(number: int) -> str:
    """A number with its thousands apart."""
    return f'{number:,}'


def contacts(number: int) -> str:
    """How many contacts, in words that fit behind a comma."""
    return ('no contact' if number == 0 else '1 contact' if number == 1
            else f'{number} contacts')


def _success(r: Result) -> str:
    return f'{plain(r["success"])} {interval(r["success_ci95"])}'


def _latency(r: Result) -> str:
    spent, floor = r['latency_ms'], r['floor_ms']
    return (f'p50 {spent["p50"]:.1f} ms, p99 {spent["p99"]:.1f} ms (floors of the same run: '
            f'{floor["p50"]:.1f} and {floor["p99"]:.1f} ms)')


def _cpu(r: Result) -> str:
    return ', '.join(f'{name} {percent:.0f}' for name, percent in sorted(
        r['cpu_percent'].items(), key=lambda pair: -pair[1]))


def _guidance(r: Result) -> str:
    return (f'guidance alone: {_success(r)}, {contacts(r["contacts"])} in '
            f'{count(r["episodes"])}, {r["time_s"]:.2f} s a leg')


def _barn_batched(r: Result) -> str:
    return (f'guidance alone: success {_success(r)}, score {plain(r["score"], 4)} '
            f'{interval(r["score_ci95"], 4)}, {contacts(r["contacts"])}, '
            f'{r["timeouts"]} time-outs; {r["times_physical_limit"]:.2f} times length / 2 m/s')


def _barn_mujoco(r: Result) -> str:
    other = r['against']['guidance']
    return (f'policy: success {_success(r)}, score {plain(r["score"], 4)} '
            f'{interval(r["score_ci95"])}, {contacts(r["contacts"])}, {r["timeouts"]} time-outs, '
            f'{r["times_physical_limit"]:.2f} times length / 2 m/s; guidance alone '
            f'{plain(other["success"])}, {plain(other["score"], 4)}, '
            f'{other["times_physical_limit"]:.2f}')


def _barn_met(r: Result) -> bool:
    return r['success'] >= 0.995 and r['score'] >= 0.495 and r['times_physical_limit'] <= 1.2


def _at_least(share: float, r: Result) -> bool:
    return r['success'] >= share


def _dynabarn_met(r: Result) -> bool:
    """Each family against its aim, the easiest first."""
    shares = sorted(r['families'].values(), reverse=True)
    return all(a >= b for a, b in zip(shares, (0.90, 0.75, 0.45), strict=True))


def _legs(r: Result) -> str:
    """Of legs in MuJoCo: what a wall is to a robot that does not see it, too."""
    return (f'guidance alone: {_success(r)}, {contacts(r["contacts"])}, {r["timeouts"]} time-outs '
            f'in {count(r["episodes"])}, {r["time_s"]:.1f} s')


def _careful(r: Result) -> bool:
    return bool(r['contacts'] <= 0.01 * r['episodes'])


def _surrogate(r: Result) -> str:
    return (f'from colour alone {plain(r["learned"]["auc"])}, with depth '
            f'{plain(r["depth"]["auc"])} (before the fit {plain(r["learned"]["auc_before"])}, '
            f'{plain(r["depth"]["auc_before"])})')


def _forecast(r: Result) -> str:
    ours, straight = r['forecast_median_m'], r['straight_median_m']
    return ', '.join(f'{ours[h]:.2f} m after {h} (straight on {straight[h]:.2f} m)'
                     for h in ('1 s', '2 s', '3 s'))


def _camera(r: Result) -> str:
    colour, depth = r['camera_rgb'], r['camera_rgbd']
    return (f'median error {100.0 * colour["hidden_median_relative_error_3m"]:.1f} % from colour, '
            f'{100.0 * depth["hidden_median_relative_error_3m"]:.1f} % from colour and depth; '
            f'seen within 2 m: {100.0 * colour["hidden_recall_2m"]:.1f} %')


def _hostile_met(r: Result) -> bool:
    return bool(r['contacts'] == r['contacts_while_moving'] == 0)


def _families(r: Result) -> str:
    return 'guidance alone: ' + ', '.join(f'{name} {plain(share, 2)}'
                                          for name, share in r['families'].items())


def _calibrate(r: Result) -> str:
    checks = r['checks']
    inside = len(checks) - len(r['outside'])
    outside = ': ' + ', '.join(r['outside']) + ' outside' if r['outside'] else ''
    of = {check['name']: check['value'] for check in checks}
    return (f'{inside} of {len(checks)} within bounds{outside}; turning on arcs '
            f'{plain(of["least turning on arcs"], 2)} to {plain(of["most turning on arcs"], 2)}, '
            f'creep {1e3 * of["creep of the tyres"]:.0f} ms')


def _hostile(r: Result) -> str:
    return (f'{contacts(r["contacts"] + r["contacts_while_moving"])} at fault in '
            f'{count(r["episodes"])} episodes of 20 s, interval {interval(r["fault_ci95"])}; '
            f'{plain(r["provocative"])} of them touch something with the gate off, median way '
            f'{r["travel_m"]:.1f} m')


def _moving(r: Result) -> str:
    other = ', '.join(f'{count(n)} {kind}' for kind, n in r['not_at_fault'].items())
    return _hostile(r) + (f'; not its fault: {other}' if other else '')


def _soak(r: Result) -> str:
    grown = max((v for process in r['memory_growth'].values() for v in process.values()
                 if v is not None), default=0.0)
    return (f'{r["kills"]} kills, {r["recovered"]} recovered, {contacts(r["contacts"])}, memory '
            f'{100.0 * grown:+.1f} % at most, {r["shm_left_bytes"]} bytes left, '
            f'{r["orphans"]} orphans')


def _faults(r: Result) -> str:
    late = ': not ' + ', '.join(f'`{name}`' for name in r['failed']) if r['failed'] else ''
    touched = sum(row['contact'] for row in r['faults'])
    return (f'{r["passed"]} of {len(r["faults"])} answered in time and recovered{late}; '
            f'{contacts(touched)}')


def _liveness(r: Result) -> str:
    return (f'{plain(r["liveness"], 4)} {interval(r["liveness_ci95"], 4)} of '
            f'{count(r["proved"])}; {round(r["gate_timeouts"] * r["episodes"])} of '
            f'{count(r["episodes"])}')


def _mutants(r: Result) -> str:
    return (f'{plain(r["score"])} {interval(r["interval_95"])} of {count(r["tested"])}; '
            f'{r["unexplained"]} of the others without a reason '
            '([doc/mutation.md](doc/mutation.md))')


def _replay(r: Result) -> str:
    same, all_ = (sum(stage[key] for stage in r['stages'].values())
                  for key in ('identical', 'compared'))
    return (f'{count(same)} of {count(all_)} messages of {", ".join(r["stages"])} the same '
            'bit for bit')


def _fuzz(r: Result) -> str:
    # crashes counts whatever went wrong: an exception, a message half taken, a command not a stop
    return f'{r["crashes"]} crashes or commands other than a stop in {count(r["messages"])}'


def _curves(r: Result) -> str:
    beyond = r['beyond_linear']
    stages = sum(len(curve['stages']) for curve in r['curves'].values())
    return (f'{stages - len(beyond)} of {stages} curves linear or better'
            + (f'; not {", ".join(beyond)}' if beyond else ''))


GENERATED = ('karpathy-control evaluate --suite generated --policy guidance --episodes 5000 '
             '--seed 1')
BARN = ('karpathy-control evaluate --suite barn --worlds {barn} --part tune --policy guidance '
        '--episodes 200')
MUJOCO = ('karpathy-control evaluate --suite barn --worlds {barn} --part %s --world mujoco '
          '--episodes %d --workers 2 --run {run}')
DYNABARN = ('karpathy-control evaluate --suite dynabarn --worlds {dynabarn} --policy guidance '
            '--episodes 600 --seed 1')

MEASUREMENTS: tuple[Measurement, ...] = (
    Measurement(
        'demo', 'karpathy-control demo --headless --seeds 0..19 --min-reached 0.95 '
        '--max-contacts 1', (Row(
            'demo', 'goals reached in unseen worlds, real time',
            lambda r: f'{r["reached"]} of {r["goals"]} goals, {contacts(r["contacts"])}',
            '95 of 100, at most 1 contact',
            lambda r: r['reached'] >= 0.95 * r['goals'] and r['contacts'] <= 1),),
        {'--seeds': '0..1'}),
    Measurement('loop', 'karpathy-control bench loop', (
        Row('latency', "frame's stamp to its first command, across processes", _latency,
            '15 and 40 ms',
            lambda r: r['latency_ms']['p50'] <= 15.0 and r['latency_ms']['p99'] <= 40.0),
        Row('missed', 'missed observations in a minute',
            lambda r: f'{r["missed"]} of {r["observations"]}', '0',
            lambda r: r['missed'] == 0),
        Row('cpu', 'CPU of the loop, % of a core', _cpu)), {'--seconds': '15'}),
    Measurement('generated', GENERATED, (Row(
        'generated', 'success per leg, batched unseen worlds, 95 % interval', _guidance,
        '.99, at most .3 % contacts',
        lambda r: r['success'] >= 0.99 and r['contacts'] <= 0.003 * r['episodes']),),
        {'--episodes': '20'}),
    Measurement('generated_no_gate', f'{GENERATED} --ablate gate', (Row(
        'generated_no_gate', 'the same legs without the gate: what safety costs', _guidance),),
        {'--episodes': '20'}),
    Measurement('open', 'karpathy-control evaluate --suite open --policy guidance --episodes 500 '
                '--seed 1', (Row('open', 'open space', _guidance, 'all',
                                 lambda r: bool(r['success'] == 1.0)),), {'--episodes': '20'}),
    Measurement('field', 'karpathy-control evaluate --suite field --policy guidance --episodes '
                '500 --seed 1', (Row('field', "fields of posts as hard to pass as BARN's, "
                                     'generated', _guidance),), {'--episodes': '20'}),
    Measurement('generated_mujoco', 'karpathy-control evaluate --suite generated --world mujoco '
                '--policy guidance --episodes 1000 --seed 1 --run {run}', (Row(
                    'generated_mujoco', 'success per leg in MuJoCo, unseen worlds', _legs,
                    'lower bound .98', lambda r: r['success_ci95'][0] >= 0.98),),
                {'--episodes': '16'}),
    *(Measurement(
        suite, f'karpathy-control evaluate --suite {suite} --policy guidance --episodes 200 '
        '--seed 1', (Row(suite, what, _guidance),), {'--episodes': '20'})
      for suite, what in (
          ('swarm', "fast things on closed ways, as hard as DynaBARN's, generated"),
          ('people', 'people who react, and some who do not mind the robot, generated'))),
    *(Measurement(
        f'low_{name}', 'karpathy-control evaluate --suite lowobstacles --world mujoco --policy '
        f'guidance --episodes {episodes} --seed 1 --workers 2 {sim}--run {{run}}',
        (Row(f'low_{name}', f'low and overhanging obstacles in MuJoCo, {what}', _legs,
             *(() if name == 'lidar' else ('at most 1 % contacts', _careful))),),
        {'--episodes': '10'})
      for name, episodes, sim, what in (
          ('depth', 100, '', 'camera with depth'),
          ('colour', 100, '--sim camera.depth=false ', 'camera without depth'),
          ('lidar', 50, '--sim camera.enabled=false ', 'no camera'))),
    *(Measurement(
        f'lidar_{beams}', 'karpathy-control evaluate --suite static --world mujoco --policy '
        f'guidance --episodes 35 --seed 1 --sim lidar.beams={beams} --sim lidar.fov={fov} '
        '--run {run}', (Row(
            f'lidar_{beams}', f'a lidar of {beams} beams over {degrees} degrees, worlds where '
            'nothing moves, MuJoCo', _legs, '.99', partial(_at_least, 0.99)),),
        {'--episodes': '7'})
      for beams, fov, degrees in ((720, 4.71239, 270), (1080, 4.71239, 270),
                                  (360, 3.14159, 180), (247, 4.18879, 240),
                                  (90, 6.2831853, 360))),
    *(Measurement(
        f'without_{name}', 'karpathy-control evaluate --suite static --world mujoco --policy '
        f'guidance --episodes 100 --seed 1 --workers 2 --sim {name}.enabled=false {more}'
        '--run {run}', (Row(
            f'without_{name}', f'no {what}, worlds where nothing moves, MuJoCo', _legs,
            plain(aim, 2), partial(_at_least, aim)),), {'--episodes': '7'})
      for name, more, what, aim in (
          ('camera', '', 'camera', 0.98), ('imu', '', 'IMU', 0.98),
          ('lidar', '--set max_speed=0.5 ', 'lidar, 0.5 m/s', 0.80))),
    Measurement('barn', BARN, (Row(
        'barn', 'public BARN worlds that were not locked, own batched simulator, 2 m/s',
        _barn_batched),), {'--episodes': '20'}),
    Measurement('barn_mujoco', MUJOCO % ('tune', 200), (Row(
        'barn_mujoco', 'the same in MuJoCo (skid steer, rendered camera, encoder, the code of '
        'the nodes)', _barn_mujoco, '.995; .495; 1.2', _barn_met),), {'--episodes': '4'}),
    Measurement('barn_locked', MUJOCO % ('locked', 50), (Row(
        'barn_locked', 'the 50 that nothing is tuned on', _barn_mujoco, '.995; .495',
        lambda r: r['success'] >= 0.995 and r['score'] >= 0.495),)),
    Measurement('barn_all', MUJOCO % ('all', 750), (Row(
        'barn_all', 'all 250, three trials each', _barn_mujoco, '.998; .498; 1.2',
        lambda r: (r['success'] >= 0.998 and r['score'] >= 0.498
                   and r['times_physical_limit'] <= 1.2)),), {'--episodes': '4'}),
    Measurement('dynabarn', DYNABARN, (Row(
        'dynabarn', 'DynaBARN development worlds, own batched simulator, success on easy, '
        'medium, hard', _families, '.90, .75, .45', _dynabarn_met),), {'--episodes': '15'}),
    Measurement('dynabarn_no_gate', f'{DYNABARN} --ablate gate', (Row(
        'dynabarn_no_gate', 'the same without the gate', _families),), {'--episodes': '15'}),
    Measurement('calibrate', 'karpathy-control calibrate', (Row(
        'calibrate', 'the base in MuJoCo against its description', _calibrate, 'all',
        lambda r: not r['outside']),)),
    Measurement(
        'hostile', 'karpathy-control adversary --episodes 100000 --seed 11 --envs 16 --run {run}',
        (Row('hostile', 'hostile commands through the gate, standing obstacles', _hostile, '0',
             _hostile_met),),
        {'--episodes': '256'}),
    Measurement(
        'hostile_mujoco', 'karpathy-control adversary --kind mujoco --episodes 3000 --seed 11 '
        '--run {run}', (Row('hostile_mujoco', 'the same in MuJoCo', _hostile, '0', _hostile_met),),
        {'--episodes': '16'}),
    Measurement('soak', 'karpathy-control soak --minutes 60 --every 20 --seed 0', (Row(
        'soak', 'an hour of random kills', _soak, '0 contacts, 5 %', lambda r: r['passed']),),
        {'--minutes': '3'}),
    Measurement(
        'hostile_moving', 'karpathy-control adversary --kind moving --episodes 20000 --seed 11 '
        '--envs 16 --run {run}', (Row(
            'hostile_moving', 'hostile commands among moving obstacles', _moving, '0',
            _hostile_met),),
        {'--episodes': '256'}),
    Measurement('faults', 'karpathy-control faults', (Row(
        'faults', 'faults on the running loop', _faults, 'all', lambda r: not r['failed']),),
        {'--only': 'scan_silent,control_kill'}),
    Measurement('liveness', 'karpathy-control adversary --kind liveness --episodes 960 --seed 5', (
        Row('liveness', 'commands proved safe that pass the gate unchanged; legs that time out '
            'through it', _liveness, '.98; 0.3 %',
            lambda r: r['liveness'] >= 0.98 and r['gate_timeouts'] <= 0.003),),
        {'--episodes': '32'}),
    Measurement('mutation', 'python test/mutation.py', (Row(
        'mutation', 'mutants of `control` that its tests kill', _mutants, '.95',
        lambda r: r['score'] >= 0.95 and r['unexplained'] == 0),),
        {'--sample': '50'}),
    Measurement(
        'replay', 'karpathy-control replay --bag {run}/drive', (Row(
            'replay', 'a recorded minute again', _replay, 'all', lambda r: r['agrees']),),
        before='karpathy-control record --out {run}/drive --seconds 60',
        beside='karpathy-control demo --headless'),
    Measurement('fuzz', 'python benchmarks/fuzz.py --messages 1000000 --seed 2', (Row(
        'fuzz', 'hostile messages', _fuzz, '0', lambda r: r['crashes'] == 0),),
        {'--messages': '2000'}),
    Measurement('curves', 'python benchmarks/curves.py --run {run} --plot doc/curves.png', (Row(
        'curves', 'CPU time against pixels, beams, moving things, map, robots: growth', _curves,
        'linear or better', lambda r: not r['beyond_linear']),),
        {'--periods': '20', '--plot': '{run}/curves.png'}),
    Measurement(
        'train_policy', 'karpathy-control train policy --steps 500000 --run {run} --out {run}',
        (Row('train_policy', 'training of the policy', lambda r:
             f'{count(r["steps"])} steps in {r["training_seconds"]:.0f} s, one thread'),),
        {'--steps': '20000', '--episodes': '20'}),
    Measurement(
        'train_encoder', 'karpathy-control train encoder --shards 136 --epochs 8 --run {run} '
        '--frames {run}/frames --out {run}/encoder.safetensors', (
            Row('train_encoder', 'training of the encoder', lambda r:
                f'{count(r["train_frames"])} frames, best of epoch {r["best_epoch"]}, '
                f'{r["train_seconds"] / 60.0:.0f} min'),
            Row('camera', 'what the lidar does not show, ranged by the camera within 3 m',
                _camera, '8 %',
                lambda r: r['camera_rgb']['hidden_median_relative_error_3m'] <= 0.08))),
    Measurement(
        'train_motion', 'karpathy-control train motion --run {run} --out '
        '{run}/motion.safetensors', (Row(
            'train_motion', 'where things go, median error of the forecast', _forecast),)),
    Measurement('train_surrogate', 'karpathy-control train surrogate', (Row(
        'train_surrogate', 'real camera scans told from drawn ones, area under the curve',
        _surrogate, '.7',
        lambda r: max(r['learned']['auc'], r['depth']['auc']) <= 0.7),)),
)
BY_NAME = {m.name: m for m in MEASUREMENTS}
