"""Extraction of answers from text, and their equality."""
