"""Slow cost-to-go over a rolling map and a fast learned reflex."""
