"""A checkpoint brings back models, optimiser and random state exactly."""

import pytest
import torch
from safetensors.torch import save_file

from karpathy_control.learning import checkpoints


def trained(seed):
    torch.manual_seed(seed)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    step(model, optimizer)
    return model, optimizer


def step(model, optimizer):
    optimizer.zero_grad()
    model(torch.rand(4, 3)).square().sum().backward()
    optimizer.step()


def test_training_goes_on_as_if_never_interrupted(tmp_path):
    model, optimizer = trained(0)
    checkpoints.save(tmp_path / 'c.safetensors', {'actor': model}, optimizer, {'iteration': 7})
    step(model, optimizer)

    other, other_optimizer = trained(1)
    found = checkpoints.load(tmp_path / 'c.safetensors')
    other.load_state_dict(found.models['actor'])
    other_optimizer.load_state_dict(found.optimizer)
    step(other, other_optimizer)

    assert found.meta == {'iteration': 7}
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_errors_name_the_file(tmp_path):
    with pytest.raises(checkpoints.CheckpointError, match='no such file; start without --resume'):
        checkpoints.load(tmp_path / 'none.safetensors')
    (tmp_path / 'bad.safetensors').write_bytes(b'nonsense')
    with pytest.raises(checkpoints.CheckpointError, match='not readable'):
        checkpoints.load(tmp_path / 'bad.safetensors')
    save_file({'a': torch.zeros(1)}, str(tmp_path / 'other.safetensors'))
    with pytest.raises(checkpoints.CheckpointError, match='format is None'):
        checkpoints.load(tmp_path / 'other.safetensors')
