"""CONDA: an environment, solved and installed by rattler from the packages that dsload loads."""
