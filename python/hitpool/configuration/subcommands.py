"""What the subcommands that share a configuration do, in words."""

USES = {
    "fit": "Trains a model and tests its best checkpoint. Without data folders, events are simulated.",
    "validate": "Measures a checkpoint, by default the best of the most recent run, on the validation events.",
    "test": "Measures a checkpoint, by default the best of the most recent run, on the test events.",
    "predict": "Writes what a checkpoint, by default the best of the most recent run, predicts for the test events.",
}
COMMON = (
    "--config is a file or the name of a packaged configuration (muon.yaml, muon_seed.yaml, muon_query.yaml, "
    "acts.yaml, acts_busy.yaml); configurations of hepattn and files with tasks alone are understood too. "
    "Entries of lists are changed by their index, as in --model.model.tasks.2.loss_weight 0.5; --print_config shows "
    "what there is. --trust lets the configuration of a checkpoint or of a run name classes of anybody."
)
