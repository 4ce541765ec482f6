"""Scripts that trained the demonstration models; not part of the distribution."""
