"""A Hugging Face Hub on loopback for tests, used with the unmodified Hub clients."""

from tests.hub import discussions, pushing, reading, repositories  # noqa: F401  importing them registers their routes
from tests.hub.messages import Account
from tests.hub.server import TOKENS, Hub

__all__ = ["TOKENS", "Account", "Hub"]
