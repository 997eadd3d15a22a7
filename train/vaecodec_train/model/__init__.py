"""The autoencoder as PyTorch modules, its initialisation and its checkpoints."""
