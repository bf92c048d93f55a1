"""What a suite lists, one kind of condition a file."""
