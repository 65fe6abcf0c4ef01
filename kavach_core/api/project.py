"""Operations on the project as a whole: the switch that stops every agent."""

from __future__ import annotations

from kavach_core.api.models import EmptyIn, Out, write_time
from kavach_core.api.operation import Call, Caller, Operation
from kavach_core.capabilities.keys import Scope

_SERVICE = frozenset({Caller.SERVICE})


class ProjectOut(Out):
    """The project, and since when its agents are suspended."""

    id: str
    suspended_at: str | None


async def _get(call: Call) -> ProjectOut:
    project = await call.kavach.project.get()
    return ProjectOut(id=project.id, suspended_at=write_time(project.suspended_at))


async def _suspend(call: Call) -> None:
    await call.kavach.project.suspend()


async def _resume(call: Call) -> None:
    await call.kavach.project.resume()


OPERATIONS = (
    Operation(
        name="getProject",
        method="GET",
        path="/project",
        callers=_SERVICE,
        scope=Scope.PROJECT_WRITE,
        summary="Whether the agents of the project are suspended",
        tag="project",
        output=ProjectOut,
        handler=_get,
    ),
    Operation(
        name="suspendProject",
        method="POST",
        path="/project/suspend",
        callers=_SERVICE,
        scope=Scope.PROJECT_WRITE,
        summary="Refuse every agent of every owner, from the next call on",
        tag="project",
        body=EmptyIn,
        body_optional=True,
        status=204,
        handler=_suspend,
    ),
    Operation(
        name="resumeProject",
        method="POST",
        path="/project/resume",
        callers=_SERVICE,
        scope=Scope.PROJECT_WRITE,
        summary="Let the agents go on",
        tag="project",
        body=EmptyIn,
        body_optional=True,
        status=204,
        handler=_resume,
    ),
)
