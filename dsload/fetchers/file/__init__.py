"""Folders and files of a file system that is mounted here."""
