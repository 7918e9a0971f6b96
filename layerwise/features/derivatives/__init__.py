"""Squared derivatives of every layer with respect to the input, from forwards that carry tangents along."""
