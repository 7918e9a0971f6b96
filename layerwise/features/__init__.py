"""From an activation to features of samples: masks at the resolution of a layer."""
