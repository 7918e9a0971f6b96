"""An activation becomes features: which pooling is the network's own."""

__all__: list[str] = []
