"""State-space layers in convolutional and recurrent form."""
