"""The model hubs that a ModelSpec can name. This module imports nothing, since the command line reads it."""

HUBS = {"huggingface": "HUGGING_FACE", "modelscope": "MODEL_SCOPE"}  # name in spec.source and URIs: source type
