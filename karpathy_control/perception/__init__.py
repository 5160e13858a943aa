"""The encoder: images, scans and motion become entities."""
