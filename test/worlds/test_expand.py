"""Hostile robot descriptions: nothing in one runs, reads another file, or goes on for ever."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from karpathy_control.contracts.config import ConfigError
from karpathy_control.worlds import expand
from karpathy_control.worlds.robot import load_robot, parse_urdf

XACRO = Path(__file__).parents[2] / 'description' / 'jackal.urdf.xacro'
HEAD = '<robot name="r" xmlns:xacro="http://www.ros.org/wiki/xacro">'


def refusal(folder, body, head=HEAD):
    """Why a description with this body is refused."""
    path = folder / 'hostile.xacro'
    path.write_text(f'{head}{body}</robot>')
    with pytest.raises(ConfigError) as caught:
        load_robot(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / 'secret'
    path.write_text('<secret>TOKEN</secret>')
    return path


@pytest.mark.parametrize(('expression', 'value'), [
    ('1 + 2 * 3', 7), ('2**3', 8), ('-x / 4', -0.5), ('7 // 2 % 2', 1), ("'a' + 'b'", 'ab'),
    ('x if 1 < x <= 2 else 0', 2), ('not (x == 2 and x != 3) or x >= 2', True),
    ('max(sin(0), math.cos(0), abs(-3))', 3), ('radians(180) == pi', True), ('round(2.6)', 3),
])
def test_arithmetic_is_what_python_says(expression, value):
    assert expand.evaluate(expression, {'x': 2, 'pi': 3.141592653589793}) == value


@pytest.mark.parametrize('expression', [
    '().__class__.__base__.__subclasses__()',
    '(lambda: ().__class__)()',
    '[c for c in ().__class__.__base__.__subclasses__()]',
    "__import__('os').system('true')", "open('/etc/passwd')", "load_yaml('/etc/passwd')",
    "xacro.load_yaml('/etc/passwd')", 'vars()', 'type(1)', 'math.sin', 'sin', "'%s' % 1",
    "'a' * 9", "f'{1}'", '(x := 1)', '1, 2', '{}', "'abc'[0]", 'max(*x)', 'round(number=1)',
    'None', '9**60', '10**18 * 10', '1 << 5', "'a' + 1", '1' * 1001,
])
def test_expression_that_is_no_arithmetic_is_refused(expression):
    with pytest.raises(ConfigError, match=r'not accepted|mixes|characters'):
        expand.evaluate(expression, {'x': 2, 'sin': expand.math.sin})


def test_large_powers_are_not_worked_out():
    with pytest.raises(OverflowError):
        expand.evaluate('9**9**9', {})


def test_no_expression_runs_code(tmp_path):
    proof = tmp_path / 'proof'
    for body in (
        f'<a b="${{[c for c in (1,)][0].__class__ or open(\'{proof}\', \'w\')}}"/>',
        f'<a b="$(eval open(\'{proof}\', \'w\'))"/>',
        # hidden from the text: the result of one expression is evaluated once more
        f'<xacro:property name="p" value="$${{open(\'{proof}\', \'w\')}}"/>'
        '<xacro:property name="q" value="${p}"/><a b="${q}"/>',
        f'<xacro:if value="${{open(\'{proof}\', \'w\')}}"/>',
    ):
        refusal(tmp_path, body)
    assert not proof.exists()


@pytest.mark.parametrize(('text', 'said'), [
    ('$(env HOME)', 'env HOME'), ('$(optenv HOME x)', 'optenv'), ('$(find rclpy)', 'find'),
    ('$(eval 1)', 'eval'), ('$(command true)', 'command'),
])
def test_substitutions_that_reach_outside_are_refused(tmp_path, text, said):
    why = refusal(tmp_path, f'<a b="{text}"/>')
    assert said in why and '$(arg NAME)' in why


def test_arguments_of_the_file_itself_are_taken(tmp_path):
    path = tmp_path / 'robot.xacro'
    text = XACRO.read_text().replace(
        '<xacro:property name="max_speed"', '<xacro:arg name="top" default="1.5"/>'
        '<xacro:property name="unused" value="$(arg top)"/><xacro:property name="max_speed"')
    assert text != XACRO.read_text()
    path.write_text(text)
    assert load_robot(path).max_speed == load_robot(XACRO).max_speed


def test_entities_and_other_files_are_refused(tmp_path, secret):
    laughs = ''.join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(12))
    for doctype in (f'<!DOCTYPE r [<!ENTITY a0 "ha">{laughs}]>',
                    f'<!DOCTYPE r [<!ENTITY a12 SYSTEM "file://{secret}">]>',
                    f'<!DOCTYPE r SYSTEM "{secret}">'):
        begin = time.monotonic()
        why = refusal(tmp_path, '&a12;', doctype + HEAD)
        assert 'document type definition' in why and 'TOKEN' not in why
        assert time.monotonic() - begin < 10.0
    for name in (secret, '../secret', '/etc/passwd', '/dev/zero'):
        (tmp_path / 'sub').mkdir(exist_ok=True)
        why = refusal(tmp_path / 'sub', f'<xacro:include filename="{name}"/>')
        assert 'does not lie in' in why and 'TOKEN' not in why


def test_a_link_does_not_lead_out_of_the_folder(tmp_path, secret):
    folder = tmp_path / 'sub'
    folder.mkdir()
    (folder / 'link').symlink_to(secret)
    assert 'does not lie in' in refusal(folder, '<xacro:include filename="link"/>')


def test_included_files_are_checked_too(tmp_path):
    (tmp_path / 'part.xacro').write_text('<!DOCTYPE r [<!ENTITY a "b">]>' + HEAD + '&a;</robot>')
    assert 'document type' in refusal(tmp_path, '<xacro:include filename="part.xacro"/>')
    assert refusal(tmp_path, '<xacro:include filename="hostile.xacro"/>')  # itself, for ever
    (tmp_path / 'part.xacro').write_text('x' * 1_000_001)
    assert 'larger than' in refusal(tmp_path, '<xacro:include filename="part.xacro"/>')


def test_macros_that_multiply_end_within_the_bounds(tmp_path):
    macros = '<xacro:macro name="m0"><a/></xacro:macro>' + ''.join(
        f'<xacro:macro name="m{i + 1}">{f"<xacro:m{i}/>" * 10}</xacro:macro>' for i in range(9))
    begin = time.monotonic()
    assert refusal(tmp_path, macros + '<xacro:m9/>')  # 10^9 elements
    assert time.monotonic() - begin < 35.0
    assert refusal(tmp_path, '<xacro:macro name="m"><xacro:m/></xacro:macro><xacro:m/>')


def test_depth_and_number_of_elements_are_bounded(tmp_path):
    assert 'nested' in refusal(tmp_path, '<a>' * 50 + '</a>' * 50)
    assert 'in all' in refusal(tmp_path, '<a/>' * 20_001)


def test_the_bounds_are_those_of_the_process():
    program = ('import sys\nfrom karpathy_control.worlds import expand\n'
               'expand.expand = lambda path: "x" * (2 << 30)\nsys.argv = ["expand", "none"]\n'
               'sys.exit(expand.main())')
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True,
                          check=False, cwd=XACRO.parents[1])
    assert done.returncode == 1 and 'MemoryError' in done.stderr


def test_another_xacro_is_refused_and_not_trusted(monkeypatch):
    monkeypatch.delattr('xacro.safe_eval')
    with pytest.raises(ConfigError, match='has no safe_eval'):
        expand.expand(XACRO)


@pytest.fixture(scope='module')
def urdf():
    return load_robot(XACRO).urdf


@pytest.mark.parametrize(('old', 'new', 'said'), [
    ('<wheel_radius>0.098', '<wheel_radius>1e999', '1e999'),
    ('<wheel_radius>0.098', '<wheel_radius>nan', 'nan'),
    ('<wheel_radius>0.098', '<wheel_radius>one', 'one'),
    ('<mu1>', '<mu1>x', 'x'),
    ('<box size="', '<box size="1 ', '3 numbers'),
    ('<box size="', '<box sizes="', '3 numbers'),
    (' radius="', ' radii="', '1 numbers'),
    ('<child link="lidar_link"/>', '<child link="base_link"/>', 'loop'),
    ('<child link="lidar_link"/>', '<child/>', 'lacks its child'),
    ('<parent link="base_link"/>', '', 'lacks its parent'),
    ('<robot ', '<!DOCTYPE robot [<!ENTITY a "b">]><robot ', 'document type'),
    ('</robot>', '', 'not well-formed'),
])
def test_urdf_that_is_refused(urdf, old, new, said):
    assert old in urdf
    with pytest.raises(ConfigError, match=said):
        parse_urdf(urdf.replace(old, new))
