"""Errors that a user can cause and mend."""


class UserError(Exception):
    """One line: what is wrong and what to type next. The command line exits with status 2."""


class LostProcess(UserError):
    """Another process of the same run has ended; it or rank 0 says so, the others need not."""


class OtherVersion(UserError):
    """A run of data or of a task in a version that this one cannot regenerate. what: which, in a phrase."""

    def __init__(self, message: str, what: str):
        super().__init__(message)
        self.what = what
