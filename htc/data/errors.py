"""What is raised about a data set."""


class DatasetError(ValueError):
    """A fault in a data set: names the file, the picture, what was expected and what came."""


class ChannelError(DatasetError):
    """A semantic map of several channels."""
