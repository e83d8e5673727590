"""All that touches the volume: files, state, inventory, lease."""
