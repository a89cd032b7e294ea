"""Export: the compiled prompt as files for other programs, byte for byte as it was scored."""
