"""The companion: Dataset resources. It imports nothing of the engine."""
