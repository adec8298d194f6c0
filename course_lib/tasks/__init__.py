"""Task families. Each has ``sample(num_tasks, generator=g) -> TaskBatch``."""

from course_lib.tasks.all_classes import AllClasses
from course_lib.tasks.base import TaskBatch
from course_lib.tasks.glyphs import GlyphTasks, character_tasks
from course_lib.tasks.omniglot import OmniglotTasks
from course_lib.tasks.sinusoid import SinusoidTasks

__all__ = ["AllClasses", "GlyphTasks", "OmniglotTasks", "SinusoidTasks", "TaskBatch", "character_tasks"]
