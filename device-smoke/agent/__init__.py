"""Runs on the device, outside the container, and believes nobody.

It keeps the blobs that a host brings, checks every digest and a signature by a trusted key, runs
the smoke test in a container, puts everything back as it was, and signs what it saw. The contract
is docs/device-protocol.md. Python 3.9 or later, its standard library, and the program ``openssl``.
"""

VERSION = "1"
