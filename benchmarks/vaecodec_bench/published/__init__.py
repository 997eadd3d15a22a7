"""Rate-distortion curves that other authors published."""
