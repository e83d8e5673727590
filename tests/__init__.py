"""The tests of dsload."""
