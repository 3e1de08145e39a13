"""The version of the harness, which is the package's: a run of another one is not resumed."""

from fflm_data.version import PACKAGE_VERSION

HARNESS_VERSION = PACKAGE_VERSION
