"""The one error that a user can mend: a single line that says what was expected, what was found and what to do."""


class SpiderError(ValueError):
    """A missing folder, a wrong label, a truncated file, a mask that does not fit its image, a bad parameter."""
