"""The one exception a user may see: a mistake that can be said in one line."""


class UserError(Exception):
    """Bad input or a missing prerequisite. The front doors print it as one line and exit with code 2."""
