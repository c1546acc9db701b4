"""The terminal itself: capabilities, keyboard input, output filters, crash reports."""
