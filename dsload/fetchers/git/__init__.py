"""GIT: one commit of a repository, with Git LFS and submodules."""
