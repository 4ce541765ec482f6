"""The events of a search, and how they reach readers."""
