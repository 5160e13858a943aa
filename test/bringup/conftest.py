"""A robot that somebody has measured, unlike the one of config/robots/generic.yaml."""

import pytest
import yaml

from karpathy_control.bringup.resources import share


@pytest.fixture
def measured(tmp_path):
    """Path of a profile with names of its own and a command timeout that was measured."""
    data = yaml.safe_load((share() / 'config' / 'robots' / 'generic.yaml').read_text())
    data['name'] = 'measured'
    data['command_timeout_verified_by'] = '0.21 s from the last cmd_vel to standing wheels; a test'
    # the farthest corner is sqrt(0.24^2 + 0.22^2) = 0.326 m away
    data['robot']['footprint'] = [0.24, 0.22, -0.24, 0.22, -0.24, -0.22, 0.24, -0.22]
    path = tmp_path / 'measured.yaml'
    path.write_text(yaml.safe_dump(data))
    return str(path)
