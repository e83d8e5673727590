"""The companion: Dataset resources, and the manifests made from them. It imports nothing of the engine."""
