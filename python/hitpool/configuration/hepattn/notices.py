"""What a translation has to tell the user."""

import json
import re
from dataclasses import dataclass, field
from typing import Any

LONGEST = 80  # characters of a value that are quoted

_WRAPPERS = re.compile(r"(^|\.)(init_args\b|modules(?=\.\d))")


@dataclass
class Notices:
    """Collects what was accepted without being used as it stands.

    Args:
        hints: Paths of settings without meaning for hitpool.
        differences: Settings of parts that hitpool's network and training do not have.
        replaced: Parts that hitpool has in another form.
        activation: What hepattn's Dense had without one when the configuration was written.
        moved: Paths in the translated configuration, and those in the file of what stands elsewhere there.
    """

    hints: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    activation: str = "silu"
    moved: dict[str, str] = field(default_factory=dict)

    def hint(self, path: str) -> None:
        """A setting without meaning for hitpool."""
        self.hints.append(short(path))

    def differs(self, path: str, value: Any) -> None:
        """A setting of something that hitpool does not have."""
        self.differences.append(f"{short(path)} = {str(value).lower() if isinstance(value, bool) else value}")

    def replace(self, theirs: str, ours: str, once: bool = False) -> None:
        """A part that hitpool has in another form; `once` leaves repetitions out."""
        if not (once and f"{theirs} -> {ours}" in self.replaced):
            self.replaced.append(f"{theirs} -> {ours}")

    def move(self, theirs: str, ours: str) -> None:
        """A setting that hitpool has in another place."""
        self.moved[short(ours)] = short(theirs)

    def place(self, ours: str) -> str:
        """Path in the file."""
        return self.moved.get(short(ours), ours)

    def lines(self) -> list[str]:
        """One line for each kind that occurred."""
        kinds = [
            ("without meaning here, left out: ", _grouped(self.hints)),
            ("hitpool's network differs, left out: ", _grouped(self.differences)),
            ("replaced: ", ", ".join(self.replaced)),
        ]
        return [title + listed for title, listed in kinds if listed]


def _grouped(entries: list[str]) -> str:
    """Entries with the part of the path that they share written once."""
    groups: dict[str, list[str]] = {}
    for entry in entries:
        path, equals, value = entry.partition(" = ")
        parent, _, name = path.rpartition(".")
        groups.setdefault(parent, []).append(name + equals + value)
    return "; ".join(
        f"{parent}: {', '.join(names)}" if parent else ", ".join(names) for parent, names in groups.items()
    )


def shown(value: Any) -> str:
    """A value in a message as YAML has it, cut if it is long; a module by its class alone.

    Example:
        >>> shown({"class_path": "hepattn.models.Dense", "init_args": {"input_size": 2}}), shown([None, True])
        ('hepattn.models.Dense', '[null, true]')
    """
    if isinstance(value, dict) and isinstance(value.get("class_path"), str):
        return value["class_path"]
    text = repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def short(path: str) -> str:
    """Path of an entry as an option of the command line has it.

    Example:
        >>> short("model.model.init_args.tasks.init_args.modules.2.init_args.net")
        'model.model.tasks.2.net'
    """
    return _WRAPPERS.sub("", path).lstrip(".")
