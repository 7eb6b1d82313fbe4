"""Media types and annotation names (OCI image-spec 1.1)."""

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

CREATED = "org.opencontainers.image.created"
LICENSES = "org.opencontainers.image.licenses"
REVISION = "org.opencontainers.image.revision"
SOURCE = "org.opencontainers.image.source"
TITLE = "org.opencontainers.image.title"
VERSION = "org.opencontainers.image.version"
DESCRIPTION = "org.opencontainers.image.description"

LOCK_DIGEST = "io.edge-buildkit.lock.digest"
MODEL_DIGEST = "io.edge-buildkit.model.digest"
