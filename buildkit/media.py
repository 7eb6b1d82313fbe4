"""Media types and annotation names that more than one room writes or reads.

Source: OCI image-spec 1.1, media-types.md and annotations.md; CNCF ModelPack, annotations.
"""

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"

CREATED = "org.opencontainers.image.created"
DESCRIPTION = "org.opencontainers.image.description"
LICENSES = "org.opencontainers.image.licenses"
REVISION = "org.opencontainers.image.revision"
SOURCE = "org.opencontainers.image.source"
TITLE = "org.opencontainers.image.title"
VERSION = "org.opencontainers.image.version"
FILE_PATH = "org.cncf.model.filepath"

# What made a layer of a base: ``created_by`` in the history of the configuration.
MADE_BY_DEBIAN = "edge-buildkit: Debian packages"
MADE_BY_PYTHON = "edge-buildkit: Python wheels"

# A model, as CNCF ModelPack has it: manifest, configuration, the file, and the card beside it.
MODEL = "application/vnd.cncf.model.manifest.v1+json"
MODEL_CONFIG = "application/vnd.cncf.model.config.v1+json"
WEIGHT = "application/vnd.cncf.model.weight.v1.raw"
CARD = "application/vnd.cncf.model.weight.config.v1.raw"
CARD_SCHEMA = "buildkit/model/v1"
# Names of a model end so, in a store before the colon, in a registry after it.
MODEL_SUFFIX = "-model"

LOCK_DIGEST = "io.edge-buildkit.lock.digest"
MODEL_DIGEST = "io.edge-buildkit.model.digest"
MODEL_TARGET = "io.edge-buildkit.model.target"
MODEL_CHECKSUM = "io.edge-buildkit.model.sha256"
MODEL_DATA_DIGEST = "io.edge-buildkit.model.data.digest"
MODEL_QUANTIZATION = "io.edge-buildkit.model.quantization"

# What a build leaves beside its result: media types of the artifact and of its layers.
BUILD = "application/vnd.edge-buildkit.build.v1+json"
BUILD_LOCK = "application/vnd.edge-buildkit.lock.v1+json"
BUILD_SOURCES = "application/vnd.edge-buildkit.sources.v1+json"
BUILD_FILE = "application/vnd.edge-buildkit.source.v1.raw"
STATEMENT = "application/vnd.in-toto+json"
# Who built it, when and where: apart, because all that the record holds can be made again.
RUN = "application/vnd.edge-buildkit.run.v1+json"
# That it was made again, and with what result.
REBUILD = "application/vnd.edge-buildkit.rebuild.v1+json"
# Where a channel led, record by record.
CHANNEL = "application/vnd.edge-buildkit.channel.v1+json"
# That somebody is about to move one.
CLAIM = "application/vnd.edge-buildkit.claim.v1+json"
# What the model is held against, apart from the model: a device in the field does not need it.
GOLDEN = "application/vnd.edge-buildkit.golden.v1+json"
DATASET = "application/vnd.cncf.model.dataset.v1.raw"
