"""What becomes gates: Amaranth blocks, and the plain Python that configures, maps and predicts them."""

__version__ = "0.1.0"
