"""edge-buildkit: from one recipe to a pinned runtime image and a quantised model.

The command line is the front door (``python -m buildkit``); `buildkit.pipeline`
holds the same steps for Python callers.
"""

__version__ = "0.1.0"
