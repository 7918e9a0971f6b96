"""What profiles cost, measured: `python -m benchmarks.NAME`."""
