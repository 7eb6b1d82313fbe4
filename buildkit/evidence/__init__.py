"""What is said about an artifact: SBOMs, provenance, signatures, and a verifier that can say no.

Every piece of evidence is an in-toto statement with canonical bytes, signed in a Sigstore bundle,
kept in the store as an OCI referrer of what it is about.
"""
