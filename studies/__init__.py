"""Studies: published claims made runnable. Each module here is one; what they share lies in the folders."""

__all__: list[str] = []
