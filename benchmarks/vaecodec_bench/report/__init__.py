"""What a benchmark run writes: the page with its pictures, the diagrams, and tables for the docs."""
