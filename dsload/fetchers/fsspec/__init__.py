"""Every filesystem protocol that fsspec knows."""
