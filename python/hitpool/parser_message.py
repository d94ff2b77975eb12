"""What jsonargparse says about a wrong option, in one line."""

from __future__ import annotations

import inspect
import pydoc
import re
import textwrap
from dataclasses import dataclass, replace

from hitpool.data.names import suggestion

LONGEST_VALUE = 80  # characters of a value that are quoted

_KEY = re.compile(r'Parser key "(?P<key>[^"]+)"(?: element \d+)?:?\s*(?P<rest>.*)')
_CLASS = re.compile(r"Problem with given class_path '(?P<path>[^']+)':")
_KINDS = {"NoneType": "null", "Iterable": "list"}


@dataclass(frozen=True)
class _Reason:
    """One thing that is wrong: at which key, and either words or a kind of value that was expected."""

    words: str = ""
    kind: str = ""
    got: str = ""
    key: str = ""

    def __str__(self) -> str:
        text = self.words or f"expected {self.kind}" + (f", got {self.got}" if self.got else "")
        return f"{self.key}: {text}" if self.key else text


def one_line(message: str) -> str:
    r"""Says in one line what a page of jsonargparse says: the path of the key, what was expected and what came.

    Args:
        message: A message of jsonargparse; any other text stays as it is, but in one line.

    Returns:
        The line.

    Example:
        >>> one_line('Parser key "data.batch_size":\n  Expected a <class \'int\'>. Got value: 1.5')
        'data.batch_size: expected int, got 1.5'
    """
    return " ".join(str(_reason(message)).split())


def _reason(text: str) -> _Reason:
    first, _, rest = text.strip("\n").removeprefix("Validation failed: ").partition("\n")
    rest = textwrap.dedent(rest)
    if match := _KEY.match(first):
        inner = _reason(f"{match['rest']}\n{rest}")
        return replace(inner, key=f"{match['key']}.{inner.key}" if inner.key else match["key"])
    if match := _CLASS.match(first):
        inner = _reason(rest)
        return replace(inner, words=_in_class(inner.words, match["path"])) if inner.words and not inner.key else inner
    if first.startswith("- "):
        return _choice(_items(f"{first}\n{rest}"))
    if first.startswith("Does not validate against any of the Union subtypes"):
        _, _, errors = rest.partition("Errors:\n")
        errors, _, given = errors.partition("\nGiven value type:")
        return _choice(_items(textwrap.dedent(errors)), _short(given.partition("\nGiven value: ")[2]))
    return _leaf(first, text)


def _items(text: str) -> list[_Reason]:
    return [_reason(item) for item in re.split(r"^- ", text, flags=re.MULTILINE)[1:]]


def _choice(reasons: list[_Reason], got: str = "") -> _Reason:
    """Of several alternatives the one that says more than the kind of the whole value, else all kinds."""
    specific = [reason for reason in reasons if reason.words or reason.key]
    if specific:
        return max(specific, key=lambda reason: bool(reason.key))
    kinds = sorted(dict.fromkeys(reason.kind for reason in reasons if reason.kind), key="null".__eq__)
    given = got or next((reason.got for reason in reasons if reason.got), "")
    choices = [kind.removeprefix("one of ") for kind in kinds if kind.startswith("one of ")]
    kinds = [kind for kind in kinds if not kind.startswith("one of ")]
    return _Reason(kind=" or ".join([*kinds, *([f"one of {', '.join(choices)}"] if choices else [])]), got=given)


def _leaf(first: str, text: str) -> _Reason:
    first, _, got = first.partition(". Got value: ")
    got = _short(got)
    if match := re.fullmatch(r"Expected an? (<class '.*'>|typing\..*|[\w.]+\[.*\])", first):
        return _Reason(kind=_kind(match[1]), got=got)
    if match := re.match(r"Expected a (?:dot import path string: (.*)|(?:config )?path but (.*) either not)", first):
        return _Reason(kind="class path" if match[1] else "", got=_short(match[1] or match[2]))
    if first == "Cannot take a Union of no types.":  # what jsonargparse 4.40 says about a Literal of texts
        return _Reason(kind="one of its choices", got=got)
    if match := re.match(r"Not of type (\w+)", first):
        return _Reason(kind=re.sub(r"(?<=[a-z])(?=[A-Z])", " ", match[1]).lower())
    if match := re.match(r"Not a valid subclass of (\w+)", first):
        return _Reason(kind=f"{match[1]} (class_path and init_args)", got=got)
    if match := re.match(r"Import path (?:\S+ )?does not correspond to a subclass of (\w+)", first):
        return _Reason(kind=f"class path of a {match[1]}")
    if match := re.match(r"Group '(.*)' does not accept (?:option|nested key) '(.*)'", first):
        return _Reason(words=f"there is no option '{match[1]}.{match[2]}'")
    if match := re.match(r"(?:Option|Key) '(.*?)' is not (?:accepted|expected)$", first):
        return _Reason(words=f"there is no option '{match[1]}'")
    if match := re.match(r"[Uu]nrecognized arguments: (.*)", first):
        return _Reason(words=f"there is no option {match[1]}")
    if match := re.match(r"the following arguments are required: (.*)|Key \"(.*)\" is required", first):
        return _Reason(words=f"missing: {match[1] or match[2]}")
    if got:
        return _Reason(words=f"{first}, got {got}")
    return _Reason(words=text)


def _in_class(words: str, path: str) -> str:
    name = path.rpartition(".")[2]
    if match := re.match(r"there is no option '(.*)'", words):
        return f"{name} has no option '{match[1]}'{suggestion(match[1], _options(path))}"
    if words.startswith(("missing: ", "there is no option")):
        return f"{name}: {words}"
    return f"class path {path}: {words}"


def _options(path: str) -> set[str]:
    """Names of the arguments of a class and of those that it passes on to its bases."""
    found = pydoc.locate(path)
    bases = inspect.getmro(found) if inspect.isclass(found) else ()
    signatures = [inspect.signature(base.__init__) for base in bases]  # type: ignore[misc]
    return {name for signature in signatures for name in signature.parameters} - {"self", "args", "kwargs"}


def _kind(annotation: str) -> str:
    """A type in the words of a YAML file."""
    if choices := re.fullmatch(r"typing\.Literal\[(.*)\]", annotation):
        return f"one of {choices[1].replace(chr(39), '')}"
    name = re.sub(r"<class '(.*)'>", r"\1", annotation).partition("[")[0].rpartition(".")[2]
    return _KINDS.get(name, name)


def _short(value: str) -> str:
    value = re.sub(r"NestedArg\(key='.*', val='?(.*?)'?\)", r"\1", value.strip())
    first, _, more = value.partition("\n")
    return first if len(first) <= LONGEST_VALUE and not more else f"{first[:LONGEST_VALUE]} ..."
