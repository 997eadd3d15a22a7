"""Pictures to chunks of a .vae file and back."""
