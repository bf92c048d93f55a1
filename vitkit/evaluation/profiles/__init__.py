"""What a transformation of the images does inside a model, layer by layer."""
