"""What is installed, what the machine has and which data lie where: looked at without loading torch."""
