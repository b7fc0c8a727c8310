"""The summary report and its frames."""

from __future__ import annotations

from starlette.responses import Response

from holdfast.api.access import require
from holdfast.api.answers import answer
from holdfast.api.call import Call
from holdfast.api.description import Operation, document
from holdfast.api.routing import Handler, Router
from holdfast.representation.documents import Service
from holdfast.representation.links import LinkValue
from holdfast.representation.records import Record
from holdfast.schema.resources.reports import (
    FRAMES,
    READERS,
    SUMMARY_PATH,
    SUMMARY_ROOT,
    ReportFrame,
)

_AREA = "Reports"


def add_routes(router: Router) -> None:
    """Given a router, add the routes of this module."""
    listed = document(SUMMARY_ROOT, "Links to the frames.")
    described = Operation("List the report's frames", _AREA, {200: listed}, READERS)
    router.add(SUMMARY_PATH, {"GET": summary}, describe={"GET": described})
    for frame in FRAMES:
        figures = document(frame.root.name, "The figures.")
        summary_of = f"Read the frame {frame.name}"
        described = Operation(summary_of, _AREA, {200: figures}, READERS)
        router.add(frame.path, {"GET": _frame(frame)}, describe={"GET": described})


async def summary(call: Call) -> Response:
    """Answer with the way to each frame."""
    require(call, READERS, "read reports")
    links = [
        LinkValue("Down", call.address(frame.path), frame.name, "ReportFrame") for frame in FRAMES
    ]
    return answer(call.request, Service(SUMMARY_ROOT, links))


def _frame(frame: ReportFrame) -> Handler:
    """Given a frame, return what answers with it."""

    async def answer_with_frame(call: Call) -> Response:
        require(call, READERS, "read reports")
        figures = await call.manager.reports.figures(frame)
        return answer(call.request, Record(frame.root, figures, call.base))

    return answer_with_frame
