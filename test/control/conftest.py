"""Which tests run as plain Python, and how hypothesis hunts while mutants are tested."""

import numba
from hypothesis import Phase, settings

# Whole drives and dense scans: minutes without compilation. What they check of the kernels, the
# files named *_plain.py check on scenes that fit in plain Python.
if numba.config.DISABLE_JIT:
    collect_ignore = ['test_controller.py', 'test_controller_supervision.py', 'test_forgotten.py',
                      'test_gate.py', 'test_gate_geometry.py', 'test_memory.py']

# A mutant is dead at the first failure: there is nothing to shrink and nothing to remember.
settings.register_profile('mutation', phases=(Phase.explicit, Phase.generate), database=None)
