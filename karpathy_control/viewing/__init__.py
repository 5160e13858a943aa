"""The loop as a page in the browser, by rerun's web viewer; no ROS is needed here."""
