"""What makes the textbook fast and safe, and how its runs are set up; the textbook reads whole without it."""
