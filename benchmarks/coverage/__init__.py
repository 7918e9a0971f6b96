"""Which architectures have their layers found: every one of timm and of transformers, held against the truth."""

__all__: list[str] = []
