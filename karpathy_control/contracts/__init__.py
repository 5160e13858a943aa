"""Frozen types, typed configuration, the interface table and geometry; numpy only."""
