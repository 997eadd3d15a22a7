"""What a benchmark run writes: the page with its pictures, diagrams, and tables for documents."""
