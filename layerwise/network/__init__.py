"""A module ready to be watched: its layers, its captured activations, and the answer of the network itself."""
