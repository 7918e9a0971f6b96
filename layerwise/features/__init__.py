"""From an activation to features of samples: readings, masks, poolings, and checks of the features."""
