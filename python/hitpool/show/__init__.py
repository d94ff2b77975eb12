"""Pictures of events: hits, true tracks, and what a model assigns to its tracks."""
