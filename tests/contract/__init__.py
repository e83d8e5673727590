"""The same suite over every source type."""
