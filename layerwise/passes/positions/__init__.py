"""Passes in which every token or pixel is a sample."""
