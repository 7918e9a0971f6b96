"""The graph of one traced forward, and the blocks, heads and axes found in it: no table of architectures."""
