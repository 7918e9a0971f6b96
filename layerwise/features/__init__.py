"""From an activation to features of samples: readings, masks, poolings, and what features must not depend on."""
