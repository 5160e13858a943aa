"""Rolling odom-frame grids shared by the gate and the policy's memory; numpy and numba only."""
