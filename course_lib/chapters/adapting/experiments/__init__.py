"""What notebook 01 measured over many trainings."""
