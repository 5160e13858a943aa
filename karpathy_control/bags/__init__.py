"""Recordings of drives: MCAP files, written and mended without ROS."""
