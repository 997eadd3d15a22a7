"""The network as PyTorch modules, its start and its checkpoints."""
