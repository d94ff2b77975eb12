"""The order of the hits and the windows of the encoder in it, which hepattn asks for in three places."""

from typing import Any

from hitpool.configuration.hepattn.notices import Notices

_WINDOW = ("window_size", "window_wrap")


def ordered(args: dict[str, Any], path: str, notices: Notices) -> dict[str, Any]:
    """Puts the field of the order into `input_sort_field` if the encoder has windows in it; else nothing needs one.

    Args:
        args: Arguments of MaskFormer, with `input_sort_field` (the fork) or `sorter` (upstream).
        path: Their place.
        notices: Told of a sorter that moves, of an order that has no meaning, and of a window without an order.
    """
    args, sorter, field = dict(args), args.get("sorter"), args.get("input_sort_field")
    inside = ((sorter or {}).get("init_args") or {}).get("input_sort_field")
    encoder = args.get("encoder") or {}
    settings = dict(encoder.get("init_args") or {})
    if settings.get("window_size") is not None and (field or inside):
        args.pop("sorter", None)
        args["input_sort_field"] = field or inside
        if not field:
            notices.move(f"{path}.sorter.input_sort_field", f"{path}.input_sort_field")
        return args
    for name in ("input_sort_field", "sorter"):
        if args.pop(name, None) is not None:
            notices.hint(f"{path}.{name}")
    for name in _WINDOW:
        if settings.pop(name, None):
            notices.differs(f"{path}.encoder.{name}", encoder["init_args"][name])
    return args | ({"encoder": encoder | {"init_args": settings}} if encoder else {})
