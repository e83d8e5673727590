"""Model hubs: Hugging Face, ModelScope and their mirrors."""
