"""What is started, how, and with which parameters."""
