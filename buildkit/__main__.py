"""``python -m buildkit``."""

import gc
import sys

# Looking for what nobody refers to, among what imports have made and while Python ends, is a
# tenth of a short command's time. Long ones still have it done, less often; and whoever was
# interrupted, as blocks that were left half-way may clean up only then.
gc.set_threshold(50_000, 20, 20)

from buildkit.cli import main  # noqa: E402 - imports are what it is about

status = main()
if status == 0:
    gc.freeze()
sys.exit(status)
