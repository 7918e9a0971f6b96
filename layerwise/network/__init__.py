"""A module made ready to be watched: its layers, its captured activations, its answer."""
