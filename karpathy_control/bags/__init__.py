"""Recordings of drives: MCAP files, written and mended without ROS, and datasets made of them."""
