"""`karpathy-control`: dispatch, statuses, one clear line for errors of the user."""

import importlib.util
import sys

import pytest

from karpathy_control import cli
from karpathy_control.contracts.config import ConfigError


def test_every_command_exists():
    for module, text in cli.COMMANDS.values():
        assert importlib.util.find_spec(module) is not None, module
        assert text


def test_usage(capsys):
    assert cli.run(['--help']) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in cli.COMMANDS)
    assert cli.run([]) == 2


def test_unknown_command_names_the_known_ones(capsys):
    assert cli.run(['fly']) == 2
    assert "unknown command 'fly'; it takes up, demo" in capsys.readouterr().err


@pytest.mark.parametrize(('error', 'status'), [
    (KeyboardInterrupt(), 130), (ConfigError('seed: 1'), 2), (FileNotFoundError('no file'), 2)])
def test_errors_of_the_user_have_no_traceback(monkeypatch, capsys, error, status):
    class Module:
        @staticmethod
        def main(_argv):
            raise error

    monkeypatch.setitem(sys.modules, 'karpathy_control.bringup.doctor', Module)
    assert cli.run(['doctor']) == status
    said = capsys.readouterr().err
    assert 'Traceback' not in said
    assert status == 130 or said == f'karpathy-control doctor: {error}\n'


def test_wrong_argument_of_up_is_one_line(capsys):
    assert cli.run(['up', 'world:=moon']) == 2
    assert capsys.readouterr().err.startswith("karpathy-control up: world: 'moon' is not accepted")


def test_params_prints_the_shipped_file(capsys):
    assert cli.run(['params', '--yaml']) == 0
    assert capsys.readouterr().out.startswith('# Every parameter')
    assert cli.run(['params', '--markdown']) == 0
    assert '### `control`' in capsys.readouterr().out
