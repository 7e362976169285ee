"""The training loop: batches, losses, checkpoints and what is told of them."""
