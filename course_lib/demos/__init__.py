"""Live demos: one file a demo, each two plain functions, ``compute`` and ``draw``; ``kit`` turns them into sliders."""
