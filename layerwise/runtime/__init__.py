"""Files and processes: what knows no network."""
