"""Episodes, suites, metrics, the demo and its report."""
