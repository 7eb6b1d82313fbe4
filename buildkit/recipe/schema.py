"""``python -m buildkit.recipe.schema`` writes the JSON Schema to standard output.

Not imported by anything: the package's name ``schema`` is the function.
"""

from __future__ import annotations

import sys

from buildkit import canonical
from buildkit.recipe.editor import schema

if __name__ == "__main__":
    sys.stdout.buffer.write(canonical.dump_pretty(schema()))
