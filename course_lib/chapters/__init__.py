"""A folder for each notebook: its demos, exercises, lecture figures, experiments, and the theory that it alone uses."""
