"""The only room that imports ROS: one thin file per node."""
