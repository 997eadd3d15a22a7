"""The training loop, its optimizer, its data and its log."""
