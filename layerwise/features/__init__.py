"""An activation becomes features: which pooling is the network's own."""
