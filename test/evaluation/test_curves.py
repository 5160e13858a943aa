"""The arithmetic of benchmarks/curves.py: slopes, samples, picture. What it measures is not."""

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

PATH = Path(__file__).resolve().parents[2] / 'benchmarks' / 'curves.py'


@pytest.fixture(scope='module')
def curves():
    spec = importlib.util.spec_from_file_location('curves', PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules['curves'] = module  # where its dataclass looks for its own module
    spec.loader.exec_module(module)
    yield module
    del sys.modules['curves']


@given(power=st.floats(-1.0, 3.0), scale=st.floats(1e-3, 1e3),
       sizes=st.lists(st.integers(1, 4096), min_size=2, max_size=8, unique=True).map(sorted))
def test_a_power_law_has_its_power_as_slope(curves, power, scale, sizes):
    found = curves.fit(sizes, [scale * size ** power for size in sizes])
    assert found.slope == pytest.approx(power, abs=1e-6)
    assert found.last == pytest.approx(power, abs=1e-6)


def test_a_constant_hides_no_square_law(curves):
    # 100 + n^2 at 1, 2, 4, 64, 128: flat to begin with, so the line through all has a slope below
    # 1.1; between the two largest ln((100 + 16384) / (100 + 4096)) / ln 2 = 1.97
    sizes = [1, 2, 4, 8, 16, 64, 128]
    found = curves.fit(sizes, [100 + n * n for n in sizes])
    assert found.slope < 1.1
    assert found.last == pytest.approx(np.log(16484 / 4196) / np.log(2))
    assert not found.linear
    assert curves.fit(sizes, [100 + 3 * n for n in sizes]).linear


def test_a_sample_is_the_sum_of_a_period(curves, monkeypatch):
    ticks = itertools.count()  # every look at the time is one second later
    monkeypatch.setattr(curves.time, 'thread_time', lambda: float(next(ticks)))

    class Room:
        def step(self, x):
            return x + 1

        def fail(self):
            raise ValueError('no')

    room, clock = Room(), curves.Clock()
    clock.watch(room, 'a', 'step', 'fail')
    assert room.step(1) == 2
    clock.period(keep=False)
    room.step(1)
    room.step(2)
    with pytest.raises(ValueError, match='no'):
        room.fail()
    clock.period(keep=True)
    room.step(1)
    clock.period(keep=True)
    assert clock.samples == {'a': [3.0, 1.0]}


def test_the_picture_has_a_panel_for_every_curve(curves, tmp_path):
    stages = {'gate': {'ms': [1.0, 2.0, 4.1], 'slope': 1.02}}
    found = {name: {'of': f'of {name}', 'axis': [1, 2, 4], 'stages': stages}
             for name in curves.CURVES}
    wide, one = tmp_path / 'all.png', tmp_path / 'one.png'
    wide.write_bytes(curves.picture(found))
    one.write_bytes(curves.picture({'map': found['map']}))
    (height, width), (least, narrow) = (imread(path).shape[:2] for path in (wide, one))
    assert width > 2.5 * narrow
    assert height > 1.5 * least


def test_every_curve_has_sizes_that_grow_and_a_scale(curves):
    assert set(curves.CURVES) == set(curves.SIZES) == set(curves.AXES)
    for name, sizes in curves.SIZES.items():
        assert list(sizes) == sorted(set(sizes))
        assert curves.AXES[name][1](sizes[0]) > 0


@pytest.mark.parametrize('words', ['--only map,mood', '--rounds 0', '--periods 1'])
def test_what_cannot_be_measured_is_refused(curves, capsys, words):
    with pytest.raises(SystemExit) as end:
        curves.main(words.split())
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "'mood': it takes image" in said or 'take at least 1' in said
