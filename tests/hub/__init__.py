"""A Hugging Face Hub on loopback for tests: the genuine clients create, push, review, load and fail against it."""

from tests.hub import discussions, pushing, reading, repositories  # noqa: F401  they fill the table of routes
from tests.hub.messages import Account
from tests.hub.server import TOKENS, Hub

__all__ = ["TOKENS", "Account", "Hub"]
