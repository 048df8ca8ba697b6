"""Tables: a user's file is read right or said what it is; names that begin like a formula are none in ours."""

import csv

import pandas as pd
import pytest

from spider_utils.__main__ import main
from spider_utils.common.errors import SpiderError
from spider_utils.common.tables import defused, fused, read_csv, write_csv
from spider_utils.data.check.findings import Finding, write_findings
from spider_utils.data.pairs import read_table
from spider_utils.data.spider import read_overview

CLEAN = "new_file_name,subset,sex\n1_t1,training,F\n1_t2,,M\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_is_read_as_it_is_written(tmp_path, encoding, end):
    (tmp_path / "overview.csv").write_bytes(CLEAN.replace("\n", end).encode(encoding))
    table = read_overview(tmp_path)
    assert list(table) == ["new_file_name", "subset", "sex"]
    assert table["new_file_name"].tolist() == ["1_t1", "1_t2"] and table["subset"].fillna("").tolist() == [
        "training",
        "",
    ]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (CLEAN.replace(",", ";").encode(), "found semicolons; save it as CSV with commas in UTF-8"),
        (CLEAN.replace(",", "\t").encode(), "found tabs; save it"),
        (CLEAN.encode("utf-16"), "found UTF-16; save it"),
        (CLEAN.encode("utf-16-le"), r"found bytes of zero \(UTF-16, or no text\)"),
        (CLEAN.replace("M", "é").encode("latin-1"), "expected a CSV table in UTF-8, found other letters in line 3"),
        (b"PK\x03\x04" + bytes(30), "found an Excel workbook or a ZIP archive"),
        (b"\xd0\xcf\x11\xe0" + bytes(30), "found an Excel workbook"),
        (b"\x1f\x8b\x08" + bytes(30), "found a gzip file"),
        (b"", "found an empty file"),
        (b"\n \n", "expected a column 'new_file_name'"),
        (CLEAN.replace("1_t2,,M", "1_t2,M").encode(), "expected 3 cells in line 3, found 2"),
        (CLEAN.replace("1_t2,,M", "1_t2,,M,").encode(), "expected 3 cells in line 3, found 4"),
        (CLEAN.replace("1_t2", '"1_t2').encode(), "found unexpected end of data in line 3"),
        (CLEAN.replace("sex", "subset").encode(), "expected a column 'subset', found 2"),
        (CLEAN.replace("subset", "set").encode(), "expected a column 'subset', found new_file_name, set, sex"),
    ],
)
def test_what_is_no_table_of_ours_is_said_what_it_is(tmp_path, content, found):
    (tmp_path / "overview.csv").write_bytes(content)
    with pytest.raises(SpiderError, match=found) as refused:
        read_overview(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path / 'overview.csv'}: ") and "\n" not in str(refused.value)


def test_the_table_of_pairs_is_read_alike(tmp_path):
    path = tmp_path / "slices.csv"
    path.write_text("file;patient;sequence\na.png;1;T1\n")
    with pytest.raises(SpiderError, match="slices.csv: expected a CSV table with commas, found semicolons"):
        read_table(path)


def test_a_cell_with_a_comma_or_a_line_of_its_own_stays_one(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('a,b\n"1,5","two\nlines"\n')
    assert read_csv(path).to_dict("records") == [{"a": "1,5", "b": "two\nlines"}]


@pytest.mark.parametrize("text", ["=1+1.mha", "+a.mha", "-a.mha", "@a.mha", "\ta.mha"])
def test_a_name_that_begins_like_a_formula_is_a_text(tmp_path, text):
    write_csv(pd.DataFrame({"label_map": [text, "a-b.mha"], "value": [-1.5, 2.0]}), tmp_path / "t.csv")
    rows = list(csv.reader((tmp_path / "t.csv").open(newline="")))
    assert rows == [["label_map", "value"], [f"'{text}", "-1.5"], ["a-b.mha", "2.0"]]
    assert fused(rows[1][0]) == text and fused("'a") == defused("'a") == "'a"


def test_names_reach_the_tables_of_the_commands_as_texts(tmp_path, capsys):
    write_findings([Finding("error", "=cmd.mha", "bad", "-> mend")], tmp_path / "f.csv")
    assert pd.read_csv(tmp_path / "f.csv").iloc[0].tolist() == ["error", "'=cmd.mha", "bad", "'-> mend"]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "=HYPERLINK.mha").write_bytes(b"")
    assert main(["check", str(tmp_path / "in"), "--out", str(tmp_path / "g.csv")]) == 1
    assert pd.read_csv(tmp_path / "g.csv")["where"].tolist() == ["'=HYPERLINK.mha"]


def test_a_clean_table_is_written_as_pandas_writes_it(tmp_path):
    table = pd.DataFrame({"name": ["a", None], "part": pd.array([0.1, 1e-17]), "n": [1, 2], "yes": [True, False]})
    table["small"] = table["part"].astype("float32")
    write_csv(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == table.to_csv(index=False)
