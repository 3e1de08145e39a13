"""The exception for a refused submission."""


class Refused(Exception):
    """The reason, one line for a terminal and for a comment on a pull request. Quotes go through `quoting.quote`."""
