"""Find the layers of a network in the graph of its operations: blocks, classifiers, axes, poolings and linear maps."""
