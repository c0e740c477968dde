"""The mistakes that a user can mend; the commands print them in one line and exit with code 2."""


class UserError(ValueError):
    """A mistake in what was asked for. Its message is one line: the thing, what was received, what would be right.

    Example:
        >>> raise UserError("--jobs must be 1 or more. Received: 0")
        Traceback (most recent call last):
        ...
        rankscope.errors.UserError: --jobs must be 1 or more. Received: 0
    """
