"""Where networks run: one way to open a device."""
