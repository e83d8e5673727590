"""One module a source type; base.py has the contract."""
