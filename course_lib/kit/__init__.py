"""What a demo, an exercise and a picture are made of."""
