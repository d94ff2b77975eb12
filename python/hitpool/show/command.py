"""The command `hitpool show`."""

from pathlib import Path

from hitpool.configuration.checkpoint_option import add_checkpoint_options, take_checkpoint
from hitpool.configuration.trust import OPTION
from hitpool.parser import ArgumentParser

DESCRIPTION = """\
Draws an event of any data set, with --checkpoint or --name also what that model assigns: two views as .png or .pdf, or
all three dimensions as a page .html, which needs the extra 'show'.
"""
KINDS = (".png", ".pdf", ".html")


def run(options: list[str]) -> None:
    """Runs `hitpool show`.

    Args:
        options: Arguments after `show`.
    """
    parser = ArgumentParser(prog="hitpool show", description=DESCRIPTION)
    parser.add_argument("data", type=Path, metavar="DATA", help="Folder of the data set.")
    parser.add_argument("--event", type=int, default=0, help="Number of the event, from 0.")
    add_checkpoint_options(parser)
    parser.add_argument("--output", type=Path, default=Path("event.png"), metavar="FILE", help="File to write.")
    parser.add_argument("--threshold", type=float, default=0.1, help="Lowest probability of an assigned hit.")
    parser.add_argument("--label", help="Words above the picture; by default the name of the data set.")
    parser.add_argument("--trust", **OPTION)
    arguments = parser.parse_args(options)
    output = Path(arguments.output)
    if output.suffix.lower() not in KINDS:
        raise ValueError(f"--output {output}: expected a file that ends in {', '.join(KINDS)}")

    model = arguments.checkpoint is not None or arguments.name is not None
    checkpoint = take_checkpoint(arguments) if model else None

    from hitpool.files import data_set_name, write_text
    from hitpool.show.event import read_event

    event = read_event(arguments.data, arguments.event, checkpoint, arguments.trust)
    label = arguments.label or f"{data_set_name(arguments.data)}, event {arguments.event}"
    if output.suffix.lower() == ".html":
        from hitpool.show.page import event_page

        write_text(output, event_page(event, label, arguments.threshold))
    else:
        from hitpool.evaluation.plots import save
        from hitpool.show.picture import plot_event

        save(plot_event(event, label, arguments.threshold), output)
    print(f"written to {output}")
