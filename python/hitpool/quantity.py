"""What a field holds."""


def quantity_of(field: str) -> str:
    """Quantity of a field: the part of its name behind the last underscore.

    Args:
        field: Its name.

    Example:
        >>> quantity_of("truthMuon_pt"), quantity_of("eta")
        ('pt', 'eta')
    """
    return field.rpartition("_")[2]
