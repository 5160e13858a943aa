"""Training of the encoder and of the policy."""
