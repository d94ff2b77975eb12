"""Metadata provider: the project's requirements, and the minor version of torch that this build is for."""


def dynamic_metadata(field, settings):
    import torch

    if field != "dependencies":
        raise ValueError(f"pin_torch provides the field 'dependencies', got {field!r}")
    major, minor = torch.__version__.split(".")[:2]
    return [*settings["requirements"], f"torch=={major}.{minor}.*"]
