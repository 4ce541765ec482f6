"""The step loop and what it decides with."""
