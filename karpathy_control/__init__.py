"""Learned robot control for ROS 2: sensor, perception, policy and a gate that fails closed."""

__version__ = '0.1.0'
