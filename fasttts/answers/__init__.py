"""What an answer is, and when two answers are equal."""
