"""What runs inside hepattn."""
