"""What a guided drive measures of a robot: its plan, its recording, the estimates, two files."""
