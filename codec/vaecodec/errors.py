"""The exceptions of this package. Each message tells the user in one sentence what is wrong."""


class VaecodecError(Exception):
    """Base class of all errors raised by this package."""


class FormatError(VaecodecError):
    """The data is not a .vae file that this version reads, or it is damaged or cut short."""


class ModelError(VaecodecError):
    """The model named by a file or by the user is missing or damaged."""


class ImageError(VaecodecError):
    """An image cannot be read, written or represented."""


class OutputError(VaecodecError):
    """The output cannot be written. The input is not at fault."""


class ParameterError(VaecodecError, ValueError):
    """An argument has a value that is not allowed."""
