"""The load: one path from a source to a target that is complete."""
