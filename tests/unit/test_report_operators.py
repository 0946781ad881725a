"""A profile of operators: rows that add up, and what is said of folders that are not one. ExecuTorch's own files are
read in tests/emulator/test_npu.py, where they are made.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import make_run

from flashneuron.errors import InputError
from flashneuron.package.records import find_record, record_path, write_index
from flashneuron.profile.etdump import INDEX, RUN, Dump, check_dump_folder, read_dumps
from flashneuron.profile.run_file import write_run
from flashneuron.report import operator_report
from flashneuron.report.etdump import read_rows
from flashneuron.report.operators import AROUND, BETWEEN, UNNAMED, Event, Row, merge, node_of, rows_of, short_operator

DUMP = Dump("decode", "head.pte", "forward", "0000.etdp", "a" * 64)


def event(name: str, values: list[float], instruction: int = 0, operator: str = "", module: str = "") -> Event:
    return Event(name, instruction, operator, module, values)


def total_us(rows: list[Row]) -> float:
    return sum(row.total_us for row in rows)


def test_calls_and_what_lies_between_them_add_up_to_the_runs() -> None:
    rows = rows_of(
        [
            event("Fully Connected", [1500, 900], 0),  # inside the delegate: told by its call
            event("DELEGATE_CALL", [2000, 1000], 0, "linear", "qkv"),
            event("native_call_add.out", [400, 300], 1, "add"),
            event("OPERATOR_CALL", [500, 400], 1, "add"),
            event("flashneuron::attention.out", [600, 600], 2),
            event("OPERATOR_CALL", [700, 700], 2),
            event("Method::execute", [4000, 2500]),
        ],
        "XNNPACK",
    )
    assert rows == [
        Row("linear", "qkv", "XNNPACK", 2, 3.0),
        Row("add", "", "CPU", 2, pytest.approx(0.9)),
        Row("attention", "", "CPU", 2, pytest.approx(1.4)),
        Row(BETWEEN, "", "CPU", 2, pytest.approx(1.2)),
    ]
    assert total_us(rows) == pytest.approx(6.5)


def test_an_npus_busy_time_is_split_by_cycles() -> None:
    rows = rows_of(
        [
            event("Accelerator (execute) time (cycles)", [1000, 1000]),
            event("Input OpId_2 (cycles)", [0, 0]),  # no row of its own
            event("aten_linear_default:OpId_9 (cycles)", [600, 600], operator="linear", module="o"),
            event("OpId_101 (cycles)", [200, 200]),
            event("Accelerator (execute) time (us)", [4, 4]),
            event("DELEGATE_CALL", [5000, 6000]),
            event("Method::execute", [5500, 6500]),
        ],
        "NPU",
    )
    assert rows == [
        Row("linear", "o", "NPU", 2, pytest.approx(6.0)),
        Row(UNNAMED, "", "NPU", 2, pytest.approx(2.0)),
        Row(AROUND, "", "CPU", 2, pytest.approx(3.0)),
        Row(BETWEEN, "", "CPU", 2, pytest.approx(1.0)),
    ]


def test_an_npu_without_cycles_is_one_row() -> None:
    rows = rows_of([event("DELEGATE_CALL", [5000]), event("Method::execute", [5000])], "NPU")
    assert rows[0] == Row("DELEGATE_CALL", "", "NPU", 1, 5.0)


def test_rows_of_layers_are_one_and_the_longest_is_first() -> None:
    add, linear = Row("add", "", "CPU", 2, 1.0), Row("linear", "o", "NPU", 2, 3.0)
    assert merge([add, linear, add]) == [linear, Row("add", "", "CPU", 4, 2.0)]


def test_names() -> None:
    assert node_of("aten_linear_default_1:OpId_9 (cycles)") == "aten_linear_default_1"
    assert node_of("OpId_9 (cycles)") is node_of("DELEGATE_CALL") is None
    assert short_operator(["aten.native_layer_norm.default"]) == "native_layer_norm"
    assert short_operator(["flashneuron::attention.out"]) == "attention"
    assert short_operator(["aten.add.Tensor", "aten.mul.Tensor", "aten.add.Tensor"]) == "add + mul"
    assert short_operator([]) == ""


def test_a_folder_that_is_no_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no dumps\.json; name a folder that flashneuron run --etdump made"):
        read_dumps(tmp_path)
    for content in ("", "{}", '{"dumps": [{"phase": "decode"}]}', "[1]"):
        (tmp_path / INDEX).write_text(content)
        with pytest.raises(InputError, match="is damaged; run again with --etdump"):
            read_dumps(tmp_path)
    (tmp_path / INDEX).write_text('{"dumps": []}')
    with pytest.raises(InputError, match="has no ETDumps"):
        read_dumps(tmp_path)


def test_a_profile_is_read_back(tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(json.dumps({"dumps": [vars(DUMP)]}))
    with pytest.raises(InputError, match=r"cannot read .*run\.json"):
        read_dumps(tmp_path)
    run = make_run()
    write_run(run, tmp_path / RUN)
    assert read_dumps(tmp_path) == (run, [DUMP])


def test_a_profile_is_never_written_over(tmp_path: Path) -> None:
    check_dump_folder(tmp_path / "new")
    with pytest.raises(InputError, match="exists; name another folder"):
        check_dump_folder(tmp_path)
    with pytest.raises(InputError, match="is not a folder; make it"):
        check_dump_folder(tmp_path / "no" / "where")


@pytest.mark.parametrize("content", [b"", b"no flatbuffer", b"\0" * 64])
def test_a_damaged_etdump_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DUMP.file).write_bytes(content)
    with pytest.raises(InputError, match=r"cannot read .*0000\.etdp .*; run again with --etdump"):
        read_rows(tmp_path, [DUMP], None, "XNNPACK")


def make_index(records: Path) -> None:
    write_index(records, {DUMP.program: DUMP.sha256})


def damage_index(records: Path) -> None:
    (records / "index.json").write_text("no")


@pytest.mark.parametrize(
    ("prepare", "program", "sha256", "says"),
    [
        (lambda _: None, "head.pte", "a" * 64, r"has no index\.json; name the folder that flashneuron export"),
        (damage_index, "head.pte", "a" * 64, "has no ETRecords of head.pte; export the package again"),
        (make_index, "other.pte", "a" * 64, "has no ETRecords of other.pte"),
        (make_index, "head.pte", "b" * 64, "are of another export of head.pte"),
        (make_index, "head.pte", "a" * 64, r"forward\.etrecord is missing; export the package again"),
    ],
)
def test_records_that_do_not_fit_are_refused(
    tmp_path: Path, prepare: Callable[[Path], None], program: str, sha256: str, says: str
) -> None:
    prepare(tmp_path)
    with pytest.raises(InputError, match=says):
        find_record(tmp_path, program, "forward", sha256)


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    make_index(tmp_path)
    path = record_path(tmp_path, DUMP.program, DUMP.method)
    path.parent.mkdir()
    path.write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"cannot read .*forward\.etrecord .*; export the package again"):
        read_rows(tmp_path, [DUMP], tmp_path, "XNNPACK")


def test_every_form_of_the_page_is_marked_and_holds_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Row("linear", "qkv", "XNNPACK", 2, 3000.0), Row("add", "", "CPU", 2, 900.0)]
    monkeypatch.setattr(operator_report, "read_dumps", lambda folder: (make_run(), [DUMP]))
    monkeypatch.setattr(operator_report, "read_rows", lambda folder, dumps, records, delegate: rows)
    page, text, data = (operator_report.render_operators(Path(), None, style) for style in ("html", "md", "json"))
    assert "<li>emulated phone</li>" in page
    assert ">time over all calls, ms</text>" in page
    assert "without --etrecord" in page
    assert text.startswith("**EMULATED PHONE**")
    assert "| linear | qkv | XNNPACK | 2 | 1500.0 | 3.00 | 76.9% |" in text
    found = json.loads(data)
    assert found["marks"] == ["emulated phone"]
    assert any("without --etrecord" in remark for remark in found["remarks"])
    assert found["phases"][0]["total_us"] == 3900
