"""Robots and worlds: generators, the batched simulator and the MuJoCo world."""
