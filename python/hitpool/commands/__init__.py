"""Commands of the command line that train a model, or use one with a Trainer."""
