"""Packs layers; runs with the builder's own Python, so that no host library decides a byte.

Imports nothing but the standard library and `installer`, and nothing outside this folder.
"""
