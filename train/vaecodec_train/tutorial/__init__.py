"""The autoencoders of the textbooks on handwritten digits: where a learned codec comes from (docs/FROM_VAE_TO_CODEC.md)."""
