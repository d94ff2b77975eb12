"""Examples in docstrings become code: griffe knows the section by the title `Examples` only."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Gives the section `Example` the title that griffe knows."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Changes the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
