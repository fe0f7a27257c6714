"""Files read piece by piece, for what one pass over the data can tell: population statistics.

Memory does not depend on the file's size. What training needs whole is read by the modules above this package.
"""

from .opening import stream
from .source import Stream

__all__ = ["Stream", "stream"]
