"""From an activation to features of samples: masks, poolings, and what features must not depend on."""

__all__: list[str] = []
