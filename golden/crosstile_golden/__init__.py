"""What Crosstile computes: import, quantisation and the integer network, in NumPy alone."""
