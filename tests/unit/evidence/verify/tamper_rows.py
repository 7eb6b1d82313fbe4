"""Every row of the matrix: importing this fills the tables of `tamper`, in their order."""

import tamper_bytes

import tamper_manifests  # isort: skip
import tamper_bundles  # isort: skip
import tamper_trust  # isort: skip
import tamper_contents  # isort: skip
import tamper_smoke  # isort: skip
import tamper_devices  # isort: skip
import tamper_keyless  # isort: skip
import tamper_controls  # isort: skip

GROUPS = (
    tamper_bytes,
    tamper_manifests,
    tamper_bundles,
    tamper_trust,
    tamper_contents,
    tamper_smoke,
    tamper_devices,
    tamper_keyless,
    tamper_controls,
)
