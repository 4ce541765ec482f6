"""The seam to the engines and its implementations."""
