"""From raw sensor data to one time-aligned observation; no ROS, no torch."""
