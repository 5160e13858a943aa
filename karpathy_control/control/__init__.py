"""Fusion into an obstacle field and the gate that fails closed; no torch."""
