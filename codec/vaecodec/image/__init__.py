"""Pictures in memory and in image files. Pillow and NumPy, no model."""
