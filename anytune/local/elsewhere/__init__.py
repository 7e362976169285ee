"""What is the same wherever our own trainer runs away from here: our program as a file, what brings a run's files."""
