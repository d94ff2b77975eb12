"""From a configuration of hepattn to one of hitpool."""

from collections.abc import Mapping
from typing import Any

from hitpool.configuration.hepattn import form, sections
from hitpool.configuration.hepattn.arguments import agree
from hitpool.configuration.hepattn.frozen_encoder import freeze_around_task
from hitpool.configuration.hepattn.lacking import is_ours, refusal
from hitpool.configuration.hepattn.notices import Notices, short
from hitpool.configuration.hepattn.parts import PARTS, REPLACED, Part, no_equal

_OLDER_NAMES = {"embed_dim": "dim", "feature": "input_name"}  # of the first versions of hepattn


def uses_hepattn(node: Any) -> bool:
    """Whether a configuration, or a piece of one, names a class of hepattn.

    Example:
        >>> uses_hepattn({"net": {"class_path": "hepattn.models.Dense", "init_args": {"input_size": 3}}})
        True
    """
    if isinstance(node, Mapping):
        return _is_theirs(node) or any(map(uses_hepattn, node.values()))
    return isinstance(node, list) and any(map(uses_hepattn, node))


def translate(config: Any, gpu: bool = True) -> tuple[Any, list[str]]:
    """Replaces the classes of hepattn and their arguments by hitpool's.

    Args:
        config: A configuration, or a piece of one such as a list of tasks; it is left as it is.
        gpu: Whether this machine has a GPU; without one a configuration that asks for it runs on what there is.

    Returns:
        The configuration of hitpool, and what the user should know, one line for each kind: what has no meaning for
        hitpool, what differs, what was replaced. Without a class of hepattn, the configuration and no line.

    Raises:
        ValueError: If hitpool has no equal for a class or for the value of an argument; the message has its path.

    Example:
        >>> translate({"class_path": "hepattn.models.Dense", "init_args": {"input_size": 2, "norm_input": True}})
        ({'class_path': 'hitpool.nn.Dense', 'init_args': {'input_size': 2, 'output_size': 2}},
         ["hitpool's network differs, left out: norm_input = true"])
    """
    if not uses_hepattn(config):
        return config, []
    translated, notices = translation(config, gpu)
    return translated, notices.lines()


def translation(config: Any, gpu: bool) -> tuple[Any, Notices]:
    """What `translate` returns for a configuration of hepattn, with all that there is to tell about it.

    Args:
        config: A configuration, or a piece of one.
        gpu: Whether this machine has a GPU.

    Raises:
        ValueError: As `translate`.
    """
    notices = Notices(activation=_default_activation(config))
    form.check(config)
    if isinstance(config, Mapping) and "class_path" not in config:
        config = sections.translate(dict(config), notices, gpu)
    return freeze_around_task(_node(config, "", notices)), notices


def _is_theirs(node: Any) -> bool:
    return isinstance(node, Mapping) and str(node.get("class_path", "")).startswith(("hepattn.", "hitpool.hepattn."))


def _default_activation(config: Any) -> str:
    """What hepattn's Dense has without `activation`: SwiGLU until November 2025, SiLU since.

    Tasks of the time before say `input_hit`, as those of the muon fork do, and later `input_constituent`.
    """
    text = str(config)
    earlier = "'input_hit'" in text and "'input_constituent'" not in text and "'hepattn.components" not in text
    return "swiglu" if earlier and "'hepattn." in text else "silu"


def _node(node: Any, path: str, notices: Notices) -> Any:
    if isinstance(node, list):
        kept: list[Any] = []
        for index, entry in enumerate(node):
            new = _node(entry, _join(path, index), notices)
            if new is not None or entry is None:
                if index != len(kept):
                    notices.move(_join(path, index), _join(path, len(kept)))
                kept.append(new)
        return kept
    if not isinstance(node, Mapping):
        return node
    if _is_theirs(node):
        return _module(dict(node), path, notices)
    entries = ((key, value, _node(value, _join(path, key), notices)) for key, value in node.items())
    return {key: new for key, old, new in entries if new is not None or old is None}


def _module(module: dict[str, Any], path: str, notices: Notices) -> dict[str, Any] | None:
    """A module of hitpool, or None for one that hitpool has in another form."""
    class_path = module["class_path"]
    name = class_path.rsplit(".", 1)[-1]
    if name in REPLACED:
        notices.replace(name, REPLACED[name])
        return None
    if name not in PARTS:
        raise ValueError(f"{short(_join(path, 'class_path'))}: {no_equal(class_path, path)}")
    part = PARTS[name]
    path = _join(path, "init_args")
    args = _renamed(module.get("init_args") or {}, path, notices)
    if class_path.startswith("hitpool."):  # has hitpool's default inside hepattn too
        args.setdefault("activation", "silu")
    if part.reshape:
        args = part.reshape(args, path, notices)
    args = _accepted(part, args, path, notices)
    args = {key: _node(value, notices.place(_join(path, key)), notices) for key, value in args.items()}
    return module | {"class_path": part.ours, "init_args": {**part.defaults, **args}}


def _renamed(args: Mapping[str, Any], path: str, notices: Notices) -> dict[str, Any]:
    """The arguments by their newer names."""
    renamed = dict(args)
    for old, new in _OLDER_NAMES.items():
        if old in renamed:
            value = renamed.pop(old)
            agree(renamed, new, value, _join(path, old), _join(path, new))
            notices.move(_join(path, old), _join(path, new))
    return renamed


def _accepted(part: Part, args: dict[str, Any], path: str, notices: Notices) -> dict[str, Any]:
    """The arguments that go on to hitpool's class."""
    kept = {}
    for name, value in args.items():
        here = _join(path, name)
        if name in part.hints:
            if value is not None:
                notices.hint(here)
        elif name in part.differs:
            if value != part.differs[name]:
                notices.differs(here, value)
        elif name in part.only:
            if not is_ours(value, part.only[name]):
                raise ValueError(refusal(here, value, part.only[name]))
        else:
            kept[name] = value
    return kept


def _join(path: str, key: str | int) -> str:
    return f"{path}.{key}" if path else str(key)
