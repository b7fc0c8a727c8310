"""Filters that are wrong are refused, with the place where they are; noise never harms."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from support.documents import error_message
from support.managers import FORMATS, administrator_client

SEED = int(os.environ.get("HOLDFAST_SEED", Random().randrange(2**32)))
PER_KIND = 135
NOISE = 600

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """A client that is logged on to a manager without rows."""
    directory: Path = tmp_path_factory.mktemp("manager")
    async with administrator_client(directory) as (_, client):
        yield client


# Parts that are right, to spoil.

GOOD = (
    "Result==Failed",
    'Name=="a;b,(c"',
    "VmDisplayName!=dbserver01",
    "TotalSize>=12.5",
    "CreationTime<2025-08-15T06:00:00Z",
    "State > InProgress",
    "JobUid==urn:veeam:Job:2b078668-e45d-4eb3-abb0-275b0d130e7e",
)
TYPED = ("Result", "State", "TotalSize", "CreationTime", "EndTime", "UID", "JobUid")
OPERATORS = ("==", "!=", ">=", "<=", ">", "<")


def good(random: Random) -> str:
    """Return a filter that is right: one to three comparisons, the last with a quoted value."""
    parts = random.choices(GOOD, k=random.randint(0, 2))
    whole = "".join(f"{part}{random.choice(';,')}" for part in parts) + 'Name=="x"'
    return f"({whole})" if random.random() < 0.3 else whole


def _cut(random: Random) -> str:
    rest = random.choice(("", "Name", "Name=", "Name==", "(", "Name>= ", 'Name=="', "TotalSize<"))
    return f"{good(random)}{random.choice(';,')}{rest}"


def _doubled_operator(random: Random) -> str:
    operators = random.choice(OPERATORS), random.choice(OPERATORS)
    return f"{random.choice(TYPED)}{operators[0]}{operators[1]}1;{good(random)}"


def _doubled_separator(random: Random) -> str:
    middle = random.choice((";;", ",,", ";,", ",;", "; ;", ";,;"))
    return f"{good(random)}{middle}{good(random)}"


def _wrong_operator(random: Random) -> str:
    operator = random.choice(("=", "===", "~", "!", "<>", "like ", "eq ", "", "&", "|", "*", "=>"))
    return f"TotalSize{operator}12;{good(random)}"


def _unknown_field(random: Random) -> str:
    name = random.choice(("Nam", "Names", "_", "x1", "Size", "JobScheduleOptions", "uid_", "Links"))
    return f"{good(random)};{name}{random.choice(OPERATORS)}1"


def _no_field(random: Random) -> str:
    return f"{good(random)};{random.choice(('==1', '1==1', '-', '%==1', '日本==1', chr(34)))}"


def _unbalanced(random: Random) -> str:
    count = random.randint(1, 5)
    whole = good(random)
    return random.choice(("(" * count + whole, whole + ")" * count, f")({whole}", f"(){whole}"))


def _unclosed_quote(random: Random) -> str:
    return f'{good(random)};Name=="{random.choice(("", "abc", "a" + chr(34) * 2, "a;b)", " "))}'


def _text_behind_quote(random: Random) -> str:
    return f'Name=="a"{random.choice(("b", " b", "==1", chr(34) + "c", "(", "&"))};{good(random)}'


def _wrong_value(random: Random) -> str:
    wrong = {
        "Result": ("Blue", "1", '""', "Succes", "Success Failed"),
        "State": ("None", "Stopped", "InProgres"),
        "TotalSize": ("abc", "1e5", "0x10", "1,5", "12 GB", "--1", "1.2.3", "٣", "true", "1" * 500),
        "CreationTime": (
            "yesterday",
            "2021",
            "2021-13-01",
            "2021-02-30",
            "01.02.2021",
            "1622855017",
        ),
        "EndTime": ("2021-06-05T25:00:00", "2021-06-05T01:04:60", "2021-6-5", "0000-01-01", "T"),
        "UID": ("1", "urn:veeam:Job:xyz", "urn:other:Job:2b078668-e45d-4eb3-abb0-275b0d130e7e"),
        "JobUid": ("2b078668", "{}", "2b078668-e45d-4eb3-abb0-275b0d130e7g"),
    }
    field = random.choice(list(wrong))
    return f"{field}{random.choice(OPERATORS)}{random.choice(wrong[field])};{good(random)}"


def _wrong_boolean(random: Random) -> str:
    return f"Name==x;ScheduleEnabled=={random.choice(('maybe', '1', '0', 'yes', 'tru', 'True1'))}"


def _too_long(random: Random) -> str:
    letters = random.choice(("x", "é", "日"))
    return f'Name=="{letters * (8 * 1024 // len(letters.encode()) + random.randint(1, 9))}"'


def _too_deep(random: Random) -> str:
    depth = random.randint(33, 200)
    return "(" * depth + good(random) + ")" * depth


def _too_many(random: Random) -> str:
    return random.choice(";,").join(["TotalSize>1"] * random.randint(257, 400))


def _control_character(random: Random) -> str:
    sign = chr(random.choice([*range(9), *range(14, 28), 127]))
    return random.choice((f"Na{sign}me==x", f"{sign}Name==x", f"Name{sign}==x", f'Name=="x"{sign}'))


MALFORMED: tuple[Callable[[Random], str], ...] = (
    _cut,
    _doubled_operator,
    _doubled_separator,
    _wrong_operator,
    _unknown_field,
    _no_field,
    _unbalanced,
    _unclosed_quote,
    _text_behind_quote,
    _wrong_value,
    _wrong_boolean,
    _too_long,
    _too_deep,
    _too_many,
    _control_character,
)


async def ask(client: httpx.AsyncClient, text: str, form: str, resource: str) -> httpx.Response:
    """Ask for what a filter says."""
    address = f"/api/query?type={resource}&filter={quote(text, '')}"
    return await client.get(address, headers=FORMATS[form])


@pytest.mark.parametrize("kind", MALFORMED, ids=lambda kind: kind.__name__.strip("_"))
async def test_malformed_filter_is_refused_naming_the_position(
    client: httpx.AsyncClient, kind: Callable[[Random], str]
) -> None:
    random = Random(f"{SEED} {kind.__name__}")
    resource = "Job" if kind is _wrong_boolean else "BackupTaskSession"
    for number in range(PER_KIND):
        text = kind(random)
        answer = await ask(client, text, ("xml", "json")[number % 2], resource)
        assert answer.status_code == 400, (SEED, text)
        message = error_message(answer, 400)
        found = re.search(r"position (\d+)", message)
        assert found, (SEED, text, message)
        assert 1 <= int(found[1]) <= len(text) + 1, (SEED, text, message)


async def test_there_are_two_thousand_malformed_filters_and_more() -> None:
    assert len(MALFORMED) * PER_KIND + len(POSITIONS) > 2000


@pytest.mark.parametrize("form", FORMATS)
async def test_right_filters_between_the_malformed_ones_are_answered(
    client: httpx.AsyncClient, form: str
) -> None:
    # What the malformed ones are made from must itself be right, or they prove nothing.
    random = Random(SEED)
    for text in [*GOOD, *(good(random) for _ in range(100))]:
        answer = await ask(client, text, form, "BackupTaskSession")
        assert answer.status_code == 200, (text, answer.text)


POSITIONS = [
    ("Nam==x", 1, "no field Nam"),
    ("Name==x;Nam==x", 9, "no field Nam"),
    ("Name x", 6, "expected one of =="),
    ("Name=x", 5, "expected one of =="),
    ("Name==", 7, "expected a value"),
    ("Name==;Result==Failed", 7, "expected a value"),
    ('Name=="x', 9, "closing"),
    ('Name=="x"y', 10, "expected"),
    ("Result==Blue", 9, "expected one of"),
    ("  Result ==  Blue", 14, "expected one of"),
    ("(Name==x", 9, "')'"),
    ("Name==x)", 8, "end of the filter"),
    ("Name==x;", 9, "name of a field"),
    ("Name==x,,Name==y", 9, "name of a field"),
    ("TotalSize==many", 12, "number"),
    ("CreationTime>2021-02-30", 14, "date"),
    ("UID==1", 6, "GUID"),
    ("日本==x", 1, "name of a field"),
    ('Name=="日本";Nam==x', 12, "no field Nam"),
]


@pytest.mark.parametrize(("text", "position", "expected"), POSITIONS)
async def test_message_says_where_and_what_was_expected(
    client: httpx.AsyncClient, text: str, position: int, expected: str
) -> None:
    for form in FORMATS:
        message = error_message(await ask(client, text, form, "BackupTaskSession"), 400)
        assert f"position {position}:" in message
        assert expected in message


def _noise(random: Random) -> str:
    signs = ";,()=!<>\"' \t\n\\%&+#?/*-_.:Z019aAnN\x00\x07\x7f\u0301é日😀\u2028\ufeff\ufffe"
    words = (
        "Name",
        "Result",
        "==",
        "!=",
        "Failed",
        "TotalSize",
        "CreationTime",
        "2021-06-05",
        "UID",
    )
    pieces = [random.choice(words) if random.random() < 0.4 else random.choice(signs)]
    pieces += random.choices([*signs, *words, *words], k=random.randint(0, 40))
    return "".join(pieces)


@pytest.mark.parametrize("form", FORMATS)
async def test_noise_is_answered_or_refused_and_never_an_internal_error(
    client: httpx.AsyncClient, form: str
) -> None:
    random = Random(f"{SEED} noise {form}")
    for _ in range(NOISE):
        text = _noise(random)
        answer = await ask(client, text, form, "BackupTaskSession")
        assert answer.status_code in (200, 400), (SEED, text)
        if answer.status_code == 400:
            error_message(answer, 400)


@pytest.mark.parametrize("form", FORMATS)
async def test_bytes_that_are_no_text_are_answered_or_refused(
    client: httpx.AsyncClient, form: str
) -> None:
    random = Random(f"{SEED} bytes {form}")
    for _ in range(NOISE // 3):
        encoded = "".join(f"%{random.randrange(256):02x}" for _ in range(random.randint(1, 12)))
        for address in (
            f"filter=Name=={encoded}",
            f"filter={encoded}",
            f"{encoded}",
            f"sortAsc={encoded}",
        ):
            answer = await client.get(f"/api/query?type=Job&{address}", headers=FORMATS[form])
            assert answer.status_code in (200, 400), (SEED, address)
