"""What goes into a training loop of the user's own: tracker, callbacks, losses and fixed heads."""
