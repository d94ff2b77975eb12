"""What works inside hepattn, by the rules of hepattn; `hitpool.hepattn.tasks` has the task."""
