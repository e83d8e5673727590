"""HTTP: folders with an index, and single files."""
