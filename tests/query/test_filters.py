"""Filters and sorts mean what they say: asked of a real catalog, and worked out by hand."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from random import Random
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.catalog.select import Selection
from holdfast.query.filter import parse_filter
from holdfast.query.request import Order, Page, Query
from holdfast.schema.core import CORE
from query import filters
from query.catalog_rows import Catalog, build
from query.filters import FIELDS, TASK_FIELDS, KnownField, Writer

RESOURCES = sorted(FIELDS)
#: How many filters are asked, and in how many ways each is written.
COUNT = int(os.environ.get("HOLDFAST_FILTERS", "20000"))
SPELLINGS = 4


def examples(count: int) -> settings:
    """Given a number, return the settings for so many examples, new ones in every run."""
    return settings(
        max_examples=max(1, count),
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """A catalog with gaps, ties and dangling relations."""
    made = build(tmp_path_factory.mktemp("catalog"))
    yield made
    made.connection.close()


def asked(
    catalog: Catalog,
    resource: str,
    text: str,
    field: KnownField,
    descending: bool,
    page: Page | None,
) -> list[UUID]:
    """Ask the catalog, and return the UIDs it answers, in order."""
    declared = CORE[resource]
    known = CORE.fields(declared)
    query = Query(
        declared,
        parse_filter(text, known),
        Order(known[field.names[-1].casefold()], descending),
        page,
        entities=resource == "Task",
    )
    selection = Selection(CORE, query)
    rows, count = selection.rows(), selection.count()
    answered = catalog.connection.execute(rows.text, rows.parameters).fetchall()
    (total,) = catalog.connection.execute(count.text, count.parameters).fetchone()
    assert page is not None or total == len(answered)
    return [selection.projection.row(row)["UID"] for row in answered]


@pytest.mark.parametrize(
    ("resource", "share"), [("BackupTaskSession", 0.5), ("BackupFile", 0.3), ("Job", 0.2)]
)
def test_every_filter_finds_the_rows_that_it_describes_in_order(
    catalog: Catalog, resource: str, share: float
) -> None:
    rows = catalog.rows[resource]
    found: Counter[str] = Counter()

    @examples(round(COUNT * share / SPELLINGS))
    @given(
        tree=filters.trees(resource, rows),
        spelling=st.integers(0, 2**32),
        sort=st.sampled_from(FIELDS[resource]),
        descending=st.booleans(),
    )
    def check(tree: object, spelling: int, sort: KnownField, descending: bool) -> None:
        writer = Writer(Random(spelling))
        matching = [row for row in rows if filters.holds(tree, row)]
        expected = [str(uid) for uid in filters.in_order(matching, sort, descending=descending)]
        for _ in range(SPELLINGS):
            text = writer.write(tree)
            assert asked(catalog, resource, text, sort, descending, None) == expected, text
        found["none" if not matching else "all" if len(matching) == len(rows) else "some"] += 1

    check()
    # Filters that find nothing or everything prove little: most must tell rows apart.
    assert found["some"] > 0.4 * found.total(), found


@pytest.mark.parametrize("resource", [*RESOURCES, "Task"])
def test_pages_put_together_are_the_whole_sorted_list(catalog: Catalog, resource: str) -> None:
    rows = catalog.rows[resource]
    fields = TASK_FIELDS if resource == "Task" else FIELDS[resource]

    @examples(COUNT // 100)
    @given(
        sort=st.sampled_from(fields), descending=st.booleans(), size=st.integers(1, len(rows) + 3)
    )
    def check(sort: KnownField, descending: bool, size: int) -> None:
        expected = [str(uid) for uid in filters.in_order(rows, sort, descending=descending)]
        pages = [
            asked(catalog, resource, "", sort, descending, Page(size, number))
            for number in range(1, -(-len(rows) // size) + 2)
        ]
        assert [uid for page in pages for uid in page] == expected
        assert all(len(page) == size for page in pages[:-2])
        assert pages[-1] == []

    check()
