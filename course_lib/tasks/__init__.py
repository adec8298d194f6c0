"""Task families. Each has ``sample(num_tasks, generator=g) -> TaskBatch``; that is all that a family of your own needs.

A folder of images, a subfolder to each class with as many images in each:

>>> def folder_tasks(root, size=28, **settings):
...     def load(path):
...         with Image.open(path) as picture:
...             return torch.tensor(np.array(picture.convert("RGB").resize((size, size)))).permute(2, 0, 1)  # uint8
...
...     folders = sorted(path for path in Path(root).iterdir() if path.is_dir())
...     images = torch.stack([torch.stack([load(p) for p in sorted(f.iterdir())]) for f in folders])  # [C, D, 3, H, W]
...     group = torch.zeros(len(folders), dtype=torch.long)  # all classes may meet in a task
...     return CharacterTasks(images, group, ["all"], [f.name for f in folders], **settings)
>>> import tempfile
>>> from pathlib import Path
>>> import numpy as np
>>> import torch
>>> from PIL import Image
>>> with tempfile.TemporaryDirectory() as root:
...     for name in ("cat", "dog", "owl"):
...         Path(root, name).mkdir()
...         for i in range(4):
...             Image.new("RGB", (40, 30), (80 * i, 0, 0)).save(Path(root, name, f"{i}.png"))
...     tasks = folder_tasks(root, ways=2, shots=1, queries=3)
>>> tasks.sample(5, generator=torch.Generator().manual_seed(0)).query_x.shape
torch.Size([5, 6, 3, 28, 28])
"""

from course_lib.engine.omniglot_files import OmniglotMissing
from course_lib.tasks.all_classes import AllClasses
from course_lib.tasks.base import TaskBatch
from course_lib.tasks.episodes import CharacterTasks
from course_lib.tasks.glyphs import GlyphTasks, character_tasks
from course_lib.tasks.omniglot import OmniglotTasks
from course_lib.tasks.sinusoid import SinusoidTasks

__all__ = [
    "AllClasses",
    "CharacterTasks",
    "GlyphTasks",
    "OmniglotMissing",
    "OmniglotTasks",
    "SinusoidTasks",
    "TaskBatch",
    "character_tasks",
]
