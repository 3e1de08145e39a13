"""Errors that a user can cause and fix."""


class UserError(Exception):
    """A one-line error: what is wrong and what to type next. The command line exits with status 2."""


class LostProcess(UserError):
    """Another process of the run has ended. That process or rank 0 prints the reason."""


class OtherVersion(UserError):
    """A run with a version of data, task or suite that this installation cannot regenerate. what: which version."""

    def __init__(self, message: str, what: str):
        super().__init__(message)
        self.what = what
