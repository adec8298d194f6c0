"""What makes the textbook fast and safe; the textbook reads whole without it."""
