"""Track finding of models and of other programs, compared by the hits of the tracks."""
