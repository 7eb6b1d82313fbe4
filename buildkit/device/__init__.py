"""Brings artifacts to a device over SSH, has them run there, and takes back what it signs."""
