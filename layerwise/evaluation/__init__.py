"""From finished statistics to a profile: numbers, errors, and their layout as a Dataset."""
