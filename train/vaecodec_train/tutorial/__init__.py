"""The autoencoders of the textbooks on handwritten digits: where a learned codec comes from (docs/TUTORIAL.md)."""
