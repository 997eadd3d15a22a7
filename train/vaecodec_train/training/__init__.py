"""The training loop, the losses, the optimizers, the training images and the log."""
