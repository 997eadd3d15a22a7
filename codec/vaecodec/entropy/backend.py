"""The range coder in use: constriction's, or its equal in plain Python."""

from typing import Any

from vaecodec.entropy import range_coder

RangeEncoder: Any
RangeDecoder: Any
Categorical: Any
Uniform: Any
try:
    import constriction
except ImportError:  # no wheel for this platform: the same bits, more slowly
    NAME = "vaecodec.entropy.range_coder"
    RangeEncoder = range_coder.RangeEncoder
    RangeDecoder = range_coder.RangeDecoder
    Categorical = range_coder.Categorical
    Uniform = range_coder.Uniform
else:
    NAME = "constriction"
    RangeEncoder = constriction.stream.queue.RangeEncoder
    RangeDecoder = constriction.stream.queue.RangeDecoder
    Categorical = constriction.stream.model.Categorical
    Uniform = constriction.stream.model.Uniform
