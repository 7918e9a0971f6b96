"""Layers in the graph of one traced forward, and what stands beside them: no table of architectures."""

__all__: list[str] = []
