"""Speed and memory of dsload beside its peers; `make bench`."""
