"""Files and processes: what knows no network."""

__all__: list[str] = []
