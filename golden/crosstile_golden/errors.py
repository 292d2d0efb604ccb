"""The one exception that a user may see."""


class CrosstileError(Exception):
    """A request that cannot be met: one line that says what was wrong, what is legal and what to do.

    The command line prints it on stderr and exits with 2; no traceback reaches a user.
    """
