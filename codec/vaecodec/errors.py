"""The one family of exceptions: each message is one sentence that a user can act on."""


class VaecodecError(Exception):
    """Anything this package refuses to do; the message gives the reason."""


class FormatError(VaecodecError):
    """The bytes are not a .vae file that this version can read: wrong signature, newer version, damaged, cut short."""


class ModelError(VaecodecError):
    """The model a file names, or the user asked for, is missing or damaged."""


class ImageError(VaecodecError):
    """An image that cannot be read, written or represented."""


class OutputError(VaecodecError):
    """The output, not the input, is at fault."""


class ParameterError(VaecodecError, ValueError):
    """An argument has a value that is not allowed."""
