"""The AWS shared config and credentials files: lossless parsing, editing, diffing and safe replacement."""
