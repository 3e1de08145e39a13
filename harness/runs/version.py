"""The version of the harness, which is that of the package. Runs of other versions are not resumed."""

from fflm_data.version import PACKAGE_VERSION

HARNESS_VERSION = PACKAGE_VERSION
