"""The project as a whole: the switch that stops all of its agents at once."""

from kavach_core.capabilities.project.model import Project
from kavach_core.capabilities.project.service import Projects

__all__ = ["Project", "Projects"]
