"""How other tools and people write things down: texts, headers, documents. Pure."""
