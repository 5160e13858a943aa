"""A device is the one asked for, or an error that says what there is."""

import pytest

from karpathy_control.compute.device import available_devices, open_device
from karpathy_control.contracts.config import ConfigError, PerceptionConfig, from_mapping
from karpathy_control.perception.runtime import PerceptionRuntime


@pytest.mark.parametrize('name', ['cuda:99', 'tpu', 'cuda:x', '', 'cpu:0', ' cpu'])
def test_device_that_is_not_there_is_named_with_what_is(name):
    with pytest.raises(ConfigError, match=repr(name)) as error:
        open_device(name)
    assert 'cpu' in str(error.value)


def test_every_available_device_opens():
    for name in available_devices():
        assert str(open_device(name)) == name


def test_runtime_refuses_the_device_before_it_looks_at_weights():
    with pytest.raises(ConfigError, match='cuda:63'):
        PerceptionRuntime(None, from_mapping(PerceptionConfig, {'device': 'cuda:63'}))
