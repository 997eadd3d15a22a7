"""What a benchmark run writes: the page, its pictures, the diagrams and the tables of the docs."""
