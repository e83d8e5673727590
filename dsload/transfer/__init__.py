"""The engine: parts, retries, checksums. It knows nothing of source types."""
